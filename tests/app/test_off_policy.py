"""What the promotion gate reads from a log about a version's router."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from orchestai.app.off_policy import gain_of_version
from orchestai.app.runtime import open_runtime
from orchestai.config import Project, RoutingConfig
from orchestai.config.training import RouterConfig
from orchestai.contracts import AcceptanceCheck, Instruction, Plan, Subtask, WorkflowGraph
from orchestai.embeddings import load_encoder
from orchestai.logs import ExecutionSource
from orchestai.registry import ModelVersion
from orchestai.routing.assign import explore_workers
from orchestai.routing.features import lexical_matrix
from orchestai.routing.outcomes import OutcomeTable
from orchestai.routing.store import save_router
from orchestai.training.router import RouterData, train_router
from tests.app.endpoint import load

RUNS = 600
GRAPH = WorkflowGraph(nodes=(Subtask(task_type="generation", description="Name a river."),), dependencies=((),))


def explore(project: Project) -> tuple[str, str]:
    """Run instructions on workers drawn at random; return the worker that did best, and the one that did worst."""
    rng = random.Random(5)
    came: dict[str, list[bool]] = {}
    workers = project.workers.only_simulated()
    texts = [f"Name river {number}." for number in range(RUNS)]
    with open_runtime(project, learned=False, references=dict.fromkeys(texts, "The Rhine.")) as runtime:
        for number, text in enumerate(texts):
            asked = Instruction(text=text, acceptance=(AcceptanceCheck(kind="contains", value="rhine"),))
            assignments = explore_workers(
                GRAPH, asked, tasks=project.tasks, workers=workers, routing=project.routing, rng=rng
            )
            plan = Plan(graph=GRAPH, assignments=assignments, planner="corpus")
            done = runtime.execute(asked, plan, source=ExecutionSource(kind="test"), execution_id=f"e-{number}").result
            came.setdefault(assignments[0].worker, []).append(bool(done.success))
    ranked = sorted(came, key=lambda worker: sum(came[worker]) / len(came[worker]))
    return ranked[-1], ranked[0]


def version(project: Project, folder: Path, number: int, good: str | None) -> ModelVersion:
    """Return a version whose router has learned that `good` alone is ever right; None means it has no router."""
    parts = {"phase1": "0" * 64}
    if good is not None:
        encoder = load_encoder(project.planner.encoder, cache_dir=project.paths.embeddings)
        workers = project.workers.only_simulated()
        texts = tuple(f"Name river {row} of the country." for row in range(120))
        scores = np.array([[float(name == good) for name in workers.names] for _ in texts])
        usd = np.full(scores.shape, 0.001)
        empty = np.full(scores.shape, np.nan)
        table = OutcomeTable(texts, texts, ("generation",) * 120, workers.names, scores, usd, empty, empty.copy())
        descriptions = encoder.encode([each.description for each in workers.workers]).astype(np.float64)
        embeddings = encoder.encode(list(texts)).astype(np.float64)
        data = RouterData(table, embeddings, lexical_matrix(texts), descriptions, usd)
        model = train_router(data, RouterConfig(folds=3, epochs=4, batch_size=32, seed=1))
        save_router(model, folder / "router", encoder=encoder.identity, seed=1)
        parts["router"] = f"{number}" * 64
    return ModelVersion(
        version=str(number), digest=f"{number}" * 64, folder=folder, parts=parts, created=datetime.now(UTC)
    )


@pytest.fixture(scope="module")
def logged(configs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str, str]:
    project = load(configs, tmp_path_factory.mktemp("home"))
    project = project.model_copy(update={"routing": RoutingConfig(simulated="allow")})
    return project, *explore(project)


def test_a_router_that_takes_the_worst_worker_loses_surely(logged: tuple[Project, str, str], tmp_path: Path) -> None:
    project, best, worst = logged
    good = version(project, tmp_path / "good", 1, best)
    bad = version(project, tmp_path / "bad", 2, worst)

    found = gain_of_version(project, bad, good)
    assert found.measurable, found.why
    assert found.high is not None
    assert found.high < 0
    assert f"{RUNS} executions" in found.why

    against_the_log = gain_of_version(project, good, None)
    assert against_the_log.difference is not None
    assert against_the_log.difference > 0
    assert "what was logged" in against_the_log.why


@pytest.mark.parametrize(
    ("ours", "theirs", "why"),
    [
        (None, "sim-a", "version 2 has no router"),
        ("sim-a", None, "the champion, version 1, has no router"),
        ("sim-a", "sim-a", "the same router"),
    ],
)
def test_without_two_routers_there_is_nothing_to_estimate(
    project: Project, ours: str | None, theirs: str | None, why: str
) -> None:
    now = datetime.now(UTC)
    champion, candidate = (
        ModelVersion(
            version=number,
            digest=number * 64,
            folder=Path(),
            parts={"phase1": "0" * 64} | ({"router": part * 8} if part else {}),
            created=now,
        )
        for number, part in (("1", theirs), ("2", ours))
    )
    found = gain_of_version(project, candidate, champion)
    assert not found.measurable
    assert why in found.why


def test_a_log_without_drawn_workers_says_what_to_do(
    logged: tuple[Project, str, str], project: Project, tmp_path: Path
) -> None:
    explored, best, _ = logged
    candidate = version(explored, tmp_path / "good", 1, best)
    found = gain_of_version(project, candidate, None)
    assert not found.measurable
    assert "routing.exploration" in found.why
