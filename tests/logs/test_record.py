from __future__ import annotations

import hashlib
import json
import zlib
from datetime import datetime, timedelta

import numpy as np
import pytest
import torch

from orchestai.contracts import TaskCatalog, WorkerCatalog
from orchestai.errors import DataError
from orchestai.logs import ExecutionLogRecord
from orchestai.logs.codec import LineError, to_json


def test_line_has_the_documented_fields_and_ours(make_record):
    record = make_record(source={"kind": "corpus", "example_id": "x-1", "template": "x", "split": "test"})
    line = json.loads(record.to_line())
    assert line["instruction"] == "Summarise both notes."
    assert (line["success"], line["cost"], line["latency_ms"]) == (True, 0.045, 1200.0)
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)
    planned = line["planner_outputs"]
    assert planned["model_selections"] == [1, 0, 2]
    assert planned["task_types"] == [0, 0, 1]
    assert planned["workflow_graph"]["adjacency"] == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]
    assert planned["dependencies"] == [[], [], [0, 1]]
    assert (planned["planner"], planned["confidence"], planned["fallback_reason"]) == (
        "rules",
        0.25,
        "confidence",
    )
    assert set(line["execution_result"]) == {
        "success",
        "outputs",
        "total_cost",
        "total_latency_ms",
        "workflow_graph",
        "error",
        "retry_count",
        "task_metrics",
    }
    assert line["execution_result"]["outputs"]["-1"] == "owl"
    assert (line["execution_id"], line["instruction_id"], line["tenant"]) == ("e-1", "i-1", "acme")
    assert (line["attempt"], line["sequence"], line["schema_version"]) == (1, 0, 1)
    assert {name: value for name, value in line["source"].items() if value is not None} == {
        "kind": "corpus",
        "example_id": "x-1",
        "template": "x",
        "split": "test",
    }
    assert line["checks"][0]["held"] is True
    assert line["acceptance"][0]["value"] == "owl"
    assert [subtask["worker"] for subtask in line["subtasks"]] == ["large", "small", "polyglot"]
    assert (line["completed"], line["simulated"]) == (True, False)


def test_crc_is_that_of_the_line_without_it(make_record):
    line = make_record().to_line()
    without = line[: line.rindex(b',"crc":')] + b"}"
    assert json.loads(line)["crc"] == f"{zlib.crc32(without):08x}"


def test_line_round_trip(make_record):
    record = make_record(text="¿Qué dice «el búho»? 🦉", simulated=True)
    assert ExecutionLogRecord.from_line(record.to_line()) == record
    assert record.simulated


def test_one_simulated_worker_marks_the_execution(make_record):
    assert make_record(simulated=True).simulated
    assert not make_record().simulated


def test_every_flipped_byte_is_noticed(make_record):
    line = make_record().to_line()
    for place in range(len(line)):
        flipped = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        with pytest.raises(LineError):
            ExecutionLogRecord.from_line(flipped)


def test_names_outside_the_catalogs_are_logged_all_the_same(make_record, tasks, workers):
    planned = make_record(
        workers=WorkerCatalog(workers=workers.workers[:1]), tasks=TaskCatalog(types=tasks.types[1:])
    ).planner_outputs
    assert planned.workers == ("large", "small", "polyglot")
    assert planned.model_selections == (-1, 0, -1)
    assert planned.task_types == (-1, -1, 0)


def test_tensors_are_kept_by_hash_and_in_full_on_request(make_record):
    values = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    tensors = {"instruction_embeddings": values, "edge_probabilities": torch.from_numpy(values)}
    reference = {"dtype": "float32", "shape": [2, 2], "sha256": hashlib.sha256(values.tobytes()).hexdigest()}

    short = json.loads(make_record(tensors=tensors).to_line())["planner_outputs"]
    assert short["instruction_embeddings"] == reference
    assert short["edge_probabilities"] == reference

    full = json.loads(make_record(tensors=tensors, full_planner_outputs=True).to_line())["planner_outputs"]
    assert full["instruction_embeddings"] == reference
    assert full["edge_probabilities"] == {**reference, "values": [[1.0, 2.0], [3.0, 4.0]]}


def test_what_json_lacks_becomes_something_that_it_has():
    assert to_json(float("nan")) is None
    assert to_json("\ud800") == "\ufffd"
    assert to_json({1: (np.int64(3), np.float32(0.5), torch.tensor(2.0))}) == {"1": [3, 0.5, 2.0]}
    assert to_json(b"ab") == {"bytes": 2, "sha256": hashlib.sha256(b"ab").hexdigest()}
    assert to_json(torch.zeros(2, dtype=torch.bfloat16), full=True)["values"] == [0.0, 0.0]
    assert to_json({3, 1, 2}) == [1, 2, 3]


def test_endless_nesting_is_refused_by_name(make_record):
    deep: list[object] = []
    for _ in range(3000):
        deep = [deep]
    record = make_record().model_copy(update={"execution_result": {"outputs": deep}})
    with pytest.raises(DataError, match="e-1"):
        record.to_line()


PLAIN = {
    "timestamp": "2024-12-24T10:30:00",
    "instruction": "Summarize document...",
    "success": True,
    "cost": 0.045,
    "latency_ms": 1200.0,
    "planner_outputs": {
        "model_selections": [2, 0, 1],
        "workflow_graph": {"adjacency": [[0, 1, 0], [0, 0, 1], [0, 0, 0]]},
    },
    "execution_result": {"success": True, "total_cost": 0.045},
}


def test_documented_line_gets_a_stable_id():
    line = json.dumps(PLAIN).encode()
    record = ExecutionLogRecord.from_line(line, plain=True)
    reordered = json.dumps(dict(reversed(PLAIN.items())), indent=None, separators=(",", ":")).encode()
    assert ExecutionLogRecord.from_line(reordered, plain=True).execution_id == record.execution_id
    other = json.dumps({**PLAIN, "cost": 0.046}).encode()
    assert ExecutionLogRecord.from_line(other, plain=True).execution_id != record.execution_id
    assert record.timestamp.isoformat() == "2024-12-24T10:30:00+00:00"
    assert record.planner_outputs.workflow_graph.adjacency == ((0, 1, 0), (0, 0, 1), (0, 0, 0))
    assert record.completed


def test_documented_line_is_foreign_in_a_segment():
    with pytest.raises(LineError, match="crc"):
        ExecutionLogRecord.from_line(json.dumps(PLAIN).encode())
