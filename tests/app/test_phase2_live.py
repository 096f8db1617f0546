"""Phase 2 live: real executions through the engine against a loopback endpoint, until the money is spent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from orchestai.app.collection import reference_answers
from orchestai.app.learning import fit_phase1, read_examples
from orchestai.app.phase2 import train_phase2
from orchestai.catalog.store import ImportedCatalog
from orchestai.checkpoint import load_checkpoint, read_manifest
from orchestai.config import Phase1Config, Phase2Config, Project, RoutingConfig
from orchestai.contracts import SimulationProfile, WorkerCatalog, WorkerProfile
from orchestai.embeddings import load_encoder
from orchestai.errors import InputError
from orchestai.importers.sink import ImportSink
from orchestai.importers.starter import StarterRecord, read_starter
from orchestai.logs import read_executions
from orchestai.planner.learned import LearnedPlanner
from tests.app.endpoint import Answer, Endpoint, load, says

# torch-geometric scripts functions when it is imported.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
]

STARTER = Path(__file__).resolve().parents[2] / "examples" / "starter" / "instructions.jsonl"
RECIPE = Phase2Config(
    updates=8, workflows=24, learning_rate=3e-3, max_kl=0.5, validate_every=4, spending_usd=1.0, entropy=0.01
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[StarterRecord]]:
    """The starter instructions of one sub-task whose accepted answer is known."""
    chosen = [each for each in read_starter(STARTER) if len(each.nodes) == 1 and not each.inputs.keys() - {"text"}]
    chosen = [each for each in chosen if reference_answers([each])][:120]
    path = tmp_path_factory.mktemp("corpus") / "instructions.jsonl"
    lines = {json.loads(line)["id"]: line for line in STARTER.read_text(encoding="utf-8").splitlines()}
    path.write_text("\n".join(lines[each.id] for each in chosen) + "\n", encoding="utf-8")
    return path, read_starter(path)


@pytest.fixture(scope="module")
def project(configs: Path, make_httpserver: HTTPServer, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two real workers behind one endpoint, of whom nobody knows which is good, and a simulated one."""
    workers = [
        WorkerProfile(
            name=name,
            description=f"{name} of the two",
            model=name,
            base_url=make_httpserver.url_for("/v1"),
            output_usd_per_mtok=1.0,
            typical_latency_ms=50.0,
        )
        for name in ("first", "second")
    ]
    workers.append(
        WorkerProfile(name="played", description="played", model="played", simulation=SimulationProfile(latency_ms=5.0))
    )
    loaded = load(configs, tmp_path_factory.mktemp("live") / "home")
    plain = loaded.training.model_copy(update={"synthetic": loaded.training.synthetic.model_copy(update={"rows": 0})})
    return loaded.model_copy(
        update={
            "training": plain,
            "workers": WorkerCatalog(workers=tuple(workers)),
            "routing": RoutingConfig(simulated="fallback"),
        }
    )


@pytest.fixture(scope="module")
def plans(project: Project, corpus: tuple[Path, list[StarterRecord]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plans")
    with ImportSink("toy", folder) as sink:
        for record in corpus[1]:
            sink.add_plan(record.id, record.instruction, [node.task_type for node in record.nodes], [])
        sink.finish(ImportedCatalog(source="toy", tasks=project.tasks))
    return folder


@pytest.fixture(scope="module")
def phase1(project: Project, plans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("checkpoint") / "phase1"
    examples, tasks, workers = read_examples(project, plans)
    fit_phase1(project, examples, tasks=tasks, workers=workers, out=out, config=Phase1Config(epochs=1, seed=2))
    return out


def knows(records: list[StarterRecord], worker: str) -> Answer:
    """Answers as accepted where `worker` is asked, and nonsense for all others."""
    known = reference_answers(records)

    def answer(request: Request) -> Response:
        body = request.get_json()
        prompt = "\n".join(str(message["content"]) for message in body["messages"])
        found = [text for asked, text in known.items() if asked in prompt]
        return says(found[0] if found and body["model"] == worker else "No idea.")(request)

    return answer


def preference(planner: LearnedPlanner, texts: list[str]) -> float:
    """Mean probability of the second worker, of the two real ones."""
    rows = np.concatenate([planner.predict_full(text).worker_probabilities for text in texts])
    first, second = (rows[:, planner.workers.index(name)] for name in ("first", "second"))
    return float((second / (first + second)).mean())


def test_live_executions_teach_which_of_two_real_workers_is_good(
    project: Project,
    corpus: tuple[Path, list[StarterRecord]],
    plans: Path,
    phase1: Path,
    endpoint: Endpoint,
    tmp_path: Path,
) -> None:
    path, records = corpus
    endpoint.answer = knows(records, "second")
    result = train_phase2(project, out=tmp_path / "phase2", checkpoint=phase1, source=plans, live=path, config=RECIPE)
    logged = [record for record in read_executions(project.paths.execution_logs) if record.source.kind == "phase2"]
    assert len(logged) == RECIPE.updates * RECIPE.workflows
    workers = {subtask.worker for record in logged for subtask in record.subtasks}
    assert workers == {"first", "second"}, "simulated workers only where no real one can"
    done = {name: [r.execution_result["success"] for r in logged if r.subtasks[0].worker == name] for name in workers}
    assert np.mean(done["first"]) < 0.3
    assert np.mean(done["second"]) > 0.7
    manifest = read_manifest(result.checkpoint)
    assert manifest.notes["environment"] == "live"
    assert result.best_update == RECIPE.updates, "validation cannot judge real workers: the last round is kept"
    assert set(load_checkpoint(result.checkpoint).config["reinforced"]) == {"first", "second", "played"}
    encoder = load_encoder(project.planner.encoder, cache_dir=project.paths.embeddings)
    before, after = (
        LearnedPlanner.load(each, encoder=encoder, tasks=project.tasks, workers=project.workers)
        for each in (phase1, result.checkpoint)
    )
    texts = [record.instruction for record in records[:20]]
    assert preference(after, texts) > max(preference(before, texts) + 0.1, 0.6)


def test_the_money_ends_a_live_training_and_none_begins_without(
    project: Project,
    corpus: tuple[Path, list[StarterRecord]],
    plans: Path,
    phase1: Path,
    endpoint: Endpoint,
    tmp_path: Path,
) -> None:
    path, records = corpus
    endpoint.answer = knows(records, "second")
    seen = len(endpoint.requests)
    # The worst case of one call, and 40 answers of 3 tokens.
    longest = max(project.tasks[node.task_type].max_output_tokens for record in records for node in record.nodes)
    before = len(read_executions(project.paths.execution_logs))
    short = RECIPE.model_copy(update={"spending_usd": (longest + 3 * 40) / 1e6, "seed": 11})
    result = train_phase2(project, out=tmp_path / "short", checkpoint=phase1, source=plans, live=path, config=short)
    assert 1 <= result.history[-1]["epoch"] < RECIPE.updates
    bills = [record.execution_result["total_cost"] for record in read_executions(project.paths.execution_logs)[before:]]
    assert len(bills) == len(endpoint.requests) - seen > 40
    assert 0 < sum(bills) <= short.spending_usd
    broke = RECIPE.model_copy(update={"spending_usd": 0.0})
    with pytest.raises(InputError, match="spending_usd"):
        train_phase2(project, out=tmp_path / "none", checkpoint=phase1, source=plans, live=path, config=broke)
