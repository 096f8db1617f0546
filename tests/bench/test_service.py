from __future__ import annotations

import json
from pathlib import Path

import pytest

import bench.service
from bench.service import percentile
from bench.service_soak import count_lines
from orchestai.config import LogsConfig
from orchestai.contracts import (
    Assignment,
    ExecutionResult,
    Instruction,
    Plan,
    Subtask,
    TaskCatalog,
    TaskType,
    WorkerCatalog,
    WorkerProfile,
    WorkflowGraph,
)
from orchestai.logs import ExecutionLogger, ExecutionLogRecord


def test_percentile() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([7.0], 0.99)) == (51.0, 100.0, 7.0)


@pytest.mark.integration
def test_added_latency(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    arguments = ["--out", str(out), "--connections", "1", "4", "--seconds", "0.2", "--rounds", "1", "--delay-ms", "20"]
    assert bench.service.main(arguments) == 0
    results = json.loads(out.read_text())["results"]
    assert set(results["added_ms"]) == {"c1", "c4"}
    for key, latency in results["latency_ms"].items():
        assert latency["direct"]["p50"] >= 20
        added = latency["service"]["p50"] - latency["direct"]["p50"]
        assert results["added_ms"][key]["p50"] == pytest.approx(added, abs=1e-5)
        assert added > 0
    assert results["cpu_ms_per_request"]["c1"] > 0


@pytest.mark.integration
def test_a_short_soak_loses_and_repeats_nothing(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    arguments = ["--out", str(out), "--skip-latency", "--soak", "8", "--rate", "15", "--faults", "0.1"]
    assert bench.service.main(arguments) == 0
    soak = json.loads(out.read_text())["results"]["soak"]
    assert (soak["lost"], soak["repeated"]) == (0, 0)
    assert soak["statuses"]["200"] > 0
    assert soak["statuses"].get("400", 0) == soak["kinds"].get("wrong", 0) or soak["kills"]
    assert soak["rss_mb_end"] > 0


def line(execution_id: str) -> ExecutionLogRecord:
    plan = Plan(
        graph=WorkflowGraph(nodes=(Subtask(task_type="t"),), dependencies=((),)),
        assignments=(Assignment(worker="w"),),
        planner="given",
    )
    result = ExecutionResult(
        success=True, outputs={}, total_cost=0.0, total_latency_ms=1.0, execution_id=execution_id, completed=True
    )
    tasks = TaskCatalog(types=(TaskType(name="t", description="A task."),))
    workers = WorkerCatalog(workers=(WorkerProfile(name="w", description="A worker.", model="m"),))
    return ExecutionLogRecord.of(Instruction(text="a"), plan, result, tasks=tasks, workers=workers)


def test_lines_are_counted_as_they_stand(tmp_path: Path) -> None:
    for names in ("ab", "a"):  # two writers, as before and after a restart
        with ExecutionLogger(tmp_path, LogsConfig()) as logger:
            for name in names:
                logger.log(line(name))
    assert count_lines(tmp_path) == {"a": 2, "b": 1}
