"""`train`, `evaluate` and `validate` on small real data; planning with what was learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestai.catalog.store import ImportedCatalog
from orchestai.config import read_phase1
from orchestai.contracts import TaskCatalog, TaskType
from orchestai.importers.sink import ImportSink
from orchestai.logs import ingest_day
from tests.cli.conftest import Cli

# torch-geometric scripts functions when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

VERBS = {"bake": "Bake bread", "paint": "Paint the wall", "dig": "Dig a hole"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An import of 60 plans: one task, or two of which the second needs the first."""
    folder = tmp_path_factory.mktemp("import")
    types = tuple(TaskType(name=name, description=text) for name, text in VERBS.items())
    catalog = ImportedCatalog(source="toy", tasks=TaskCatalog(types=types))
    with ImportSink("toy", folder) as sink:
        for number in range(60):
            names = list(VERBS)[number % 3 :][: 1 + number % 2]
            text = " and then ".join(VERBS[name].lower() for name in names)
            links = [(0, 1)] if len(names) == 2 else []
            sink.add_plan(f"p{number}", f"Today, house {number}: {text}.", names, links)
        sink.finish(catalog)
    return folder


def test_train_evaluate_and_plan(cli: Cli, data: Path, tmp_path: Path) -> None:
    """One pass through all commands; a second training goes on where the first one ended."""
    trained = cli("train", "phase1", "--data", data, "--out", tmp_path / "ckpt", "--epochs", 2, "--json")
    assert trained.code == 0, trained.err
    assert trained.json["checkpoint"] == str(tmp_path / "ckpt")
    for name in ("model.safetensors", "config.json", "manifest.json"):
        assert (tmp_path / "ckpt" / name).is_file()

    evaluated = cli("evaluate", "--data", data, "--checkpoint", tmp_path / "ckpt", "--json")
    assert evaluated.code == 0, evaluated.err
    planners = evaluated.json["planners"]
    assert set(planners) == {"learned", "rules", "nn_copy", "kernel_ridge"}
    assert planners["nn_copy"]["exact"] == 100.0, "the test instructions differ in a number only"
    assert all(row["dag_validity"] == 100.0 for row in planners.values())
    assert evaluated.json["examples"] == planners["rules"]["n"] > 0

    # Its types are not the simulated workers' best known ones, but chat workers can be asked for any.
    options = ("--data", data, "--from", tmp_path / "ckpt", "--out", tmp_path / "phase2", "--updates", 2)
    reinforced = cli("train", "phase2", *options, "--json")
    assert reinforced.code == 0, reinforced.err
    assert {"ppo", "supervised_argmax", "best_single", "oracle"} <= set(reinforced.json["methods"])
    assert (tmp_path / "phase2.curves.png").read_bytes().startswith(b"\x89PNG")
    assert "drowns success" in cli("train", "phase2", *options, "--rewards", "default").out
    wrong = cli("train", "phase2", *options, "--rewards", "kind")
    assert (wrong.code, "balanced" in wrong.err) == (2, True)

    (tmp_path / "in.jsonl").write_text('{"id": "x", "instruction": "Bake bread and then paint the wall."}\n')
    options = ("--catalog", data, "--checkpoint", tmp_path / "ckpt", "--out", tmp_path / "out.jsonl")
    planned = cli("plan", "--file", tmp_path / "in.jsonl", *options)
    assert planned.code == 0, planned.err
    assert "by learned" in planned.err
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert row["planner"] == "learned"
    assert set(row["nodes"]) <= set(VERBS)
    assert 0 <= row["confidence"] <= 1


def test_a_recipe_of_ones_own_holds_for_one_call(cli: Cli, data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("epochs: 3\nseed: 5\n")
    out = tmp_path / "own"
    trained = cli("train", "phase1", "--data", data, "--out", out, "--config", tmp_path / "mine.yml", "--epochs", 1)
    assert trained.code == 0, trained.err
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["seed"] == 5
    assert len(manifest["history"]) == 1, "an option stands above the file"
    curves = tmp_path / "own.curves.png"
    assert curves.read_bytes().startswith(b"\x89PNG")
    assert str(curves) in trained.out.replace("\n", "")
    assert list(cli.home.glob("wandb/train-*/wandb/offline-run-*")), "curves are tracked without Dagster too"
    wrong = cli("train", "phase1", "--data", data, "--out", out, "--config", tmp_path / "none.yml")
    assert wrong.code == 2
    assert "none.yml" in wrong.err


def test_the_model_that_is_replaced_is_kept(cli: Cli, data: Path) -> None:
    checkpoints = cli.home / "checkpoints"

    def digest(name: str) -> str:
        return json.loads((checkpoints / name / "manifest.json").read_text())["files"]["model.safetensors"]

    def train(seed: int) -> None:
        assert cli("train", "phase1", "--data", data, "--epochs", 1, "--seed", seed).code == 0

    train(1)
    first = digest("phase1")
    assert not (checkpoints / "phase1.previous").exists()
    train(2)
    assert digest("phase1.previous") == first
    second = digest("phase1")
    assert second != first
    train(3)
    assert digest("phase1.previous") == second
    assert not (checkpoints / ".phase1.replaced").exists()


def test_tune_goes_on_writes_a_recipe_and_sees_no_test_row(cli: Cli, data: Path, tmp_path: Path) -> None:
    options = ("--data", data, "--epochs", 1, "--out", tmp_path / "study", "--write", tmp_path / "best.yml", "--json")
    first = cli("tune", "--trials", 1, *options)
    assert first.code == 0, first.err
    assert first.json["value"] == first.json["given"]
    second = cli("tune", "--trials", 2, *options)
    assert second.code == 0, second.err
    study = json.loads((tmp_path / "study" / "study.json").read_text())
    assert [trial["state"] for trial in study["trials"]] == ["complete", "complete"]
    assert study["best"]["value"] == second.json["value"] >= first.json["value"]
    assert set(study["rows"]) == {"train", "validation"}
    assert sum(study["rows"].values()) < 60, "the test rows are left out"
    assert (cli.home / "state" / "studies.sqlite").exists()
    recipe = read_phase1(tmp_path / "best.yml")
    assert recipe.dropout == pytest.approx(second.json["best"]["dropout"])
    assert recipe.epochs > 1, "epochs were limited for the search only"
    assert not list((cli.home / "state").glob("tune-*"))


@pytest.mark.parametrize("split", ["moon", ""])
def test_an_empty_split_is_bad_input(cli: Cli, data: Path, split: str) -> None:
    outcome = cli("evaluate", "--data", data, "--split", split)
    assert outcome.code == 2
    assert f"has no examples of the split {split!r}" in outcome.err


@pytest.mark.parametrize("command", [("train", "phase1"), ("evaluate",)])
def test_missing_data_are_bad_input(cli: Cli, tmp_path: Path, command: tuple[str, ...]) -> None:
    outcome = cli(*command, "--data", tmp_path / "none")
    assert outcome.code == 2
    assert outcome.err.startswith("invalid_data: ")
    assert str(tmp_path / "none") in outcome.err


def test_too_few_examples_are_bad_input(cli: Cli, tmp_path: Path) -> None:
    catalog = ImportedCatalog(source="toy", tasks=TaskCatalog(types=(TaskType(name="bake", description="d"),)))
    with ImportSink("toy", tmp_path / "few") as sink:
        sink.add_plan("p", "Bake bread.", ["bake"], [])
        sink.finish(catalog)
    outcome = cli("train", "phase1", "--data", tmp_path / "few", "--out", tmp_path / "ckpt")
    assert outcome.code == 2
    assert "There are 1 examples; training needs at least" in outcome.err
    assert not (tmp_path / "ckpt").exists()


def record(number: int) -> dict[str, Any]:
    return {
        "id": f"r{number}",
        "template": f"t{number}",
        "domain": "d",
        "language": "en",
        "instruction": f"Name river number {number}.",
        "nodes": [{"task_type": "question_answering", "description": "Name it"}],
        "dependencies": [[]],
        "acceptance": [{"kind": "equals", "value": "Danube"}],
    }


def test_a_table_that_is_fit_is_approved_and_one_that_is_not_refused(cli: Cli, tmp_path: Path) -> None:
    corpus = tmp_path / "c.jsonl"
    corpus.write_text("".join(json.dumps(record(number)) + "\n" for number in range(12)))
    assert cli("collect", "--corpus", corpus, "--live", 0, "--rounds", 3).code == 0
    table = cli.home / "data" / "execution_logs"
    day = cli.records[0].timestamp.date()
    ingest_day(cli.home / "execution_logs", day, table, cli.home / "quarantine")
    outcome = cli("validate", "--report", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert outcome.code == (0 if report["approved"] else 3)
    assert f"{report['verdict']}: 36 rows" in outcome.out
    as_json = cli("validate", "--json")
    assert as_json.json["gates"] == report["gates"]

    wrong = cli("validate", "--suite", "training_data", "--json")
    assert wrong.code == 3, "an execution log is no table of training data"
    assert wrong.json["approved"] is False
    assert cli("validate", tmp_path / "none.parquet").code == 2
    assert "Unknown suite 'moon'" in cli("validate", "--suite", "moon").err
