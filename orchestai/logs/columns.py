"""The Parquet form of the execution log: its schema, and a record as a row of it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

from orchestai.logs.record import ExecutionLogRecord

if TYPE_CHECKING:
    import pyarrow as pa

KEY = ("execution_id", "attempt", "sequence")


def execution_schema() -> pa.Schema:
    """Return the columns of the table of executions.

    `task_types` and `workers` are names; `task_type_ids` and `model_selections` are the documented ids.
    `dependencies` lists the parents of each node and is the transpose of `adjacency`. `planner_outputs` and
    `execution_result` are the documented objects as JSON.
    """
    import pyarrow as pa

    text = pa.string()
    ids = pa.list_(pa.int32())
    subtask = pa.struct(
        [
            ("index", pa.int32()),
            ("task_type", text),
            ("description", text),
            ("worker", text),
            ("gave_up", pa.list_(text)),
            ("simulated", pa.bool_()),
            ("status", text),
            ("attempts", pa.int32()),
            ("input_tokens", pa.int64()),
            ("output_tokens", pa.int64()),
            ("cost_usd", pa.float64()),
            ("latency_ms", pa.float64()),
            ("propensity", pa.float64()),
            ("prompt_version", text),
            ("error", text),
        ]
    )
    check = pa.struct([("check", text), ("held", pa.bool_())])
    return pa.schema(
        [
            pa.field("execution_id", text, nullable=False),
            pa.field("attempt", pa.int32(), nullable=False),
            pa.field("sequence", pa.int32(), nullable=False),
            pa.field("timestamp", pa.timestamp("us", "UTC"), nullable=False),
            pa.field("instruction_id", text),
            pa.field("tenant", text),
            pa.field("instruction", text, nullable=False),
            pa.field("inputs", pa.list_(text), nullable=False),
            pa.field("success", pa.bool_(), nullable=False),
            pa.field("completed", pa.bool_(), nullable=False),
            pa.field("simulated", pa.bool_(), nullable=False),
            pa.field("cost", pa.float64(), nullable=False),
            pa.field("latency_ms", pa.float64(), nullable=False),
            pa.field("planner", text),
            pa.field("confidence", pa.float64()),
            pa.field("model_version", text),
            pa.field("fallback_reason", text),
            pa.field("model_selections", ids),
            pa.field("workers", pa.list_(text)),
            pa.field("task_type_ids", ids),
            pa.field("task_types", pa.list_(text)),
            pa.field("dependencies", pa.list_(ids)),
            pa.field("adjacency", pa.list_(ids)),
            pa.field("subtasks", pa.list_(subtask)),
            pa.field("checks", pa.list_(check)),
            pa.field("answer", text),
            pa.field("error", text),
            pa.field("source", text),
            pa.field("example_id", text),
            pa.field("template", text),
            pa.field("split", text),
            pa.field("planner_outputs", text),
            pa.field("execution_result", text),
            pa.field("schema_version", pa.int32(), nullable=False),
            pa.field("writer", text),
            pa.field("segment", text, nullable=False),
            pa.field("content_sha256", text, nullable=False),
        ]
    )


def execution_row(record: ExecutionLogRecord, segment: str) -> dict[str, Any]:
    """Return `record` as a row of `execution_schema`."""
    planned = record.planner_outputs
    result = record.execution_result
    outputs = result.get("outputs")
    answer = outputs.get("-1") if isinstance(outputs, dict) else None
    line = record.to_line()
    return {
        "execution_id": record.execution_id,
        "attempt": record.attempt,
        "sequence": record.sequence,
        "timestamp": record.timestamp,
        "instruction_id": record.instruction_id or None,
        "tenant": record.tenant,
        "instruction": record.instruction,
        "inputs": sorted(record.inputs),
        "success": record.success,
        "completed": record.completed,
        "simulated": record.simulated,
        "cost": record.cost,
        "latency_ms": record.latency_ms,
        "planner": planned.planner,
        "confidence": planned.confidence if planned.planner else None,
        "model_version": planned.model_version,
        "fallback_reason": planned.fallback_reason,
        "model_selections": planned.model_selections or None,
        "workers": planned.workers or None,
        "task_type_ids": planned.task_types or None,
        "task_types": planned.task_type_names or None,
        "dependencies": planned.dependencies,
        "adjacency": planned.workflow_graph.adjacency or None,
        "subtasks": [subtask.model_dump() for subtask in record.subtasks],
        "checks": [
            {"check": item.check.model_dump_json(exclude_defaults=True), "held": item.held} for item in record.checks
        ],
        "answer": _text(answer),
        "error": _text(result.get("error")),
        "source": record.source.kind,
        "example_id": record.source.example_id,
        "template": record.source.template,
        "split": record.source.split,
        "planner_outputs": _json(planned),
        "execution_result": _json(result),
        "schema_version": record.schema_version,
        "writer": record.writer,
        "segment": segment,
        "content_sha256": hashlib.sha256(line).hexdigest(),
    }


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    try:
        return to_json(value, inf_nan_mode="null").decode()
    except (PydanticSerializationError, UnicodeEncodeError, RecursionError):  # what it does not know, taken apart
        plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
