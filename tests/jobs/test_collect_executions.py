"""The collection job runs a corpus once and not twice."""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from jobs.collect_executions import collect_executions_job
from orchestai.config import Project
from orchestai.logs import read_executions


def corpus(path: Path) -> Path:
    rows = [
        {
            "id": f"sum-{number}",
            "template": "sum",
            "domain": "school",
            "language": "en",
            "instruction": f"What is {number} plus {number}?",
            "inputs": {},
            "nodes": [{"task_type": "reasoning", "description": f"Add {number} and {number}."}],
            "dependencies": [[]],
            "acceptance": [{"kind": "contains", "value": str(2 * number)}],
        }
        for number in (31, 32, 33)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_a_corpus_is_run_and_logged_once(
    project: Project, instance: dg.DagsterInstance, resources: dict[str, Any], tmp_path: Path
) -> None:
    config = {"corpus": str(corpus(tmp_path / "corpus.jsonl")), "rounds": 2}
    run_config = {"ops": {"collect_corpus": {"config": config}}}
    job = collect_executions_job(project)

    first, second = (
        job.execute_in_process(
            run_config=run_config, resources={"orchestai": resources["orchestai"]}, instance=instance
        )
        for _ in range(2)
    )

    assert facts(first)["simulated_executed"] == 6
    assert facts(second)["simulated_executed"] == 0
    assert facts(second)["skipped"] == 6
    records = list(read_executions(project.paths.execution_logs))
    assert len(records) == 6
    assert {record.source.example_id for record in records} == {"sum-31", "sum-32", "sum-33"}


def facts(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}
