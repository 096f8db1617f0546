"""From an import made on the spot to a router that live plans ask, and back from their log to its tables."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from orchestai.app.places import executions_folder, router_folder, routing_folder
from orchestai.app.routing import write_outcome_tables
from orchestai.app.runtime import open_runtime
from orchestai.config import RoutingConfig, load_project
from orchestai.contracts import Budget, Instruction
from orchestai.errors import InfeasibleError
from orchestai.logs import ingest_day
from orchestai.routing.logged import read_routing_table
from tests.cli.conftest import Cli

QUALITY = {
    "trivia": {"sim-frontier": 0.9, "sim-fast": 0.85, "sim-coder": 0.1},
    "code": {"sim-frontier": 0.7, "sim-fast": 0.1, "sim-coder": 0.97},
}
TEXTS = {"trivia": "who won the cup in the year {0}", "code": "Write a function f{0}(x) that returns x + {0}."}
PRICES = {"sim-frontier": 10.0, "sim-fast": 0.3, "sim-coder": 1.0}


def scored(folder: Path, rows: int = 240) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    records, lines = [], []
    for place in range(rows):
        kind = ("trivia", "code")[place % 2]
        text = TEXTS[kind].format(1900 + place)
        scores = {name: float(rng.random() < quality) for name, quality in QUALITY[kind].items()}
        records.append({"question": text, "scores": scores})
        lines.append(json.dumps({"query": text, "task_name": kind}))
    (folder / "train.json").write_text(json.dumps(records), encoding="utf-8")
    facts = {name: {"input_price": usd, "output_price": usd, "feature": name} for name, usd in PRICES.items()}
    (folder / "default_llm.json").write_text(json.dumps(facts), encoding="utf-8")
    (folder / "queries.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_an_import_becomes_a_router_that_live_plans_ask(
    cli: Cli, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    imported = cli("import", "llmrouter", scored(tmp_path / "scores"), "--out", tmp_path / "import")
    assert imported.code == 0, imported.err
    trained = cli("train", "router", "--data", tmp_path / "import", "--epochs", 20, "--json")
    assert trained.code == 0, trained.err
    assert set(trained.json["workers"]) == set(PRICES)
    assert trained.json["metrics"]["auc"] > 0.7
    assert sum(count for _, _, count in trained.json["calibration"]) == 3 * trained.json["rows"]

    project = load_project()
    assert trained.json["checkpoint"] == str(router_folder(project))
    project = project.model_copy(
        update={"routing": RoutingConfig(simulated="allow", prefer="success", exploration=0.5, exploration_margin=1.0)}
    )
    code = Instruction(text=TEXTS["code"].format(1906))
    with open_runtime(project, mock=True) as runtime:
        plan = runtime.plan(code)
        (chosen,) = plan.assignments
        assert plan.router_version is not None
        assert chosen.worker == "sim-coder", chosen
        assert chosen.predicted_success is not None
        assert chosen.predicted_success > 0.6
        assert chosen.propensity == 1.0, "nothing runs, so nothing is left to chance"
        with pytest.raises(InfeasibleError, match="success target of"):
            runtime.plan(code.model_copy(update={"budget": Budget(min_success=1.0)}))
        again = [runtime.plan(code, execution_id="e-7").assignments[0].worker for _ in range(3)]
        assert len(set(again)) == 1
        seen = {}
        for number in range(12):
            execution = runtime.execute(code, execution_id=f"e-{number}")
            (assignment,) = execution.plan.assignments
            seen[f"e-{number}"] = assignment
            assert assignment.propensity == assignment.propensities[assignment.worker]
        assert seen["e-7"].worker == again[0], "a resumed execution would choose the same"
        assert len({each.worker for each in seen.values()}) > 1, "half of the choices are left to chance"
    for record in cli.records:
        outputs = record.planner_outputs.model_dump()
        assignment = seen[record.execution_id]
        assert outputs["router_version"] == plan.router_version
        assert outputs["propensities"] == [assignment.propensity]
        assert outputs["candidate_propensities"] == [assignment.propensities]
        assert outputs["predicted_success"] == [assignment.predicted_success]
        assert record.subtasks[0].propensity in (assignment.propensity, None)

    day = cli.records[0].timestamp.date()
    ingest_day(project.paths.execution_logs, day, executions_folder(project), project.paths.quarantine)
    assert write_outcome_tables(project)["routing_outcomes.parquet"] >= 12
    outcomes = read_routing_table(routing_folder(project), "routing_outcomes.parquet").to_pylist()
    assert {row["text"] for row in outcomes} == {code.text}
    assert all(row["score"] is None for row in outcomes if row["completed"]), "nobody looked at these answers"

    few = cli("train", "router")
    assert few.code == 2
    assert "no scored outcome" in few.err

    with (router_folder(project) / "model.safetensors").open("r+b") as stream:
        stream.seek(200)
        stream.write(b"torn")
    with caplog.at_level(logging.WARNING), open_runtime(project, mock=True, log=False) as runtime:
        floor = runtime.plan(code)
    assert floor.router_version is None
    assert "by rule" in caplog.text or "cheapest" in floor.assignments[0].reason
    assert sum("router" in entry.message for entry in caplog.records) == 1
