"""Execution logs as outcomes: who was asked what, and what became of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestai.contracts import planning_text
from orchestai.errors import DataError, StorageError
from orchestai.logs.parquet import read_parquet
from orchestai.routing.features import lexical
from orchestai.routing.outcomes import FEATURES_ASSET, METRICS_ASSET, OUTCOMES_ASSET, OutcomeTable, build_table
from orchestai.routing.text import subtask_texts

if TYPE_CHECKING:
    import pyarrow as pa

ALL_TYPES = "*"
"""In `worker_metrics`: the row of a worker over all task types."""

_COLUMNS = [
    *("execution_id", "attempt", "timestamp", "instruction", "inputs", "success", "dependencies", "subtasks"),
    *("checks", "source", "split", "execution_result"),
]


def outcomes_schema() -> pa.Schema:
    """Return the columns of `routing_outcomes`: one row a sub-task and worker that was asked."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    return pa.schema(
        [
            pa.field("query_id", text, nullable=False),
            pa.field("execution_id", text, nullable=False),
            pa.field("attempt", pa.int32(), nullable=False),
            pa.field("node", pa.int32(), nullable=False),
            pa.field("timestamp", pa.timestamp("us", "UTC"), nullable=False),
            pa.field("text", text, nullable=False),
            pa.field("task_type", text, nullable=False),
            pa.field("subtasks", pa.int32(), nullable=False),
            pa.field("parents", pa.int32(), nullable=False),
            pa.field("worker", text, nullable=False),
            pa.field("simulated", pa.bool_(), nullable=False),
            pa.field("completed", pa.bool_(), nullable=False),
            pa.field("score", number),
            pa.field("cost_usd", number),
            pa.field("latency_ms", number),
            pa.field("input_tokens", pa.int64()),
            pa.field("output_tokens", pa.int64()),
            pa.field("propensity", number),
            pa.field("split", text),
            pa.field("source", text),
        ]
    )


def metrics_schema() -> pa.Schema:
    """Return the columns of `worker_metrics`: one row a worker and task type, and one a worker over all."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    measured = ("success_rate", "cost_usd", "latency_ms_p50", "latency_ms_p95", "input_tokens", "output_tokens")
    return pa.schema(
        [
            pa.field("worker", text, nullable=False),
            pa.field("task_type", text, nullable=False),
            pa.field("calls", pa.int64(), nullable=False),
            pa.field("completed", pa.int64(), nullable=False),
            pa.field("scored", pa.int64(), nullable=False),
            *(pa.field(name, number) for name in measured),
            pa.field("total_cost_usd", number, nullable=False),
            pa.field("simulated", pa.bool_(), nullable=False),
        ]
    )


def features_schema() -> pa.Schema:
    """Return the columns of `features`: one row a sub-task."""
    import pyarrow as pa

    text = pa.string()
    return pa.schema(
        [
            pa.field("query_id", text, nullable=False),
            pa.field("task_type", text, nullable=False),
            pa.field("chars", pa.int64(), nullable=False),
            pa.field("words", pa.int64(), nullable=False),
            pa.field("subtasks", pa.int32(), nullable=False),
            pa.field("parents", pa.int32(), nullable=False),
            pa.field("outcomes", pa.int64(), nullable=False),
            pa.field("workers", pa.int64(), nullable=False),
            pa.field("lexical", pa.list_(pa.float64()), nullable=False),
        ]
    )


def outcomes_of(tables: Iterable[Path]) -> pa.Table:
    """Read the outcomes out of the tables of executions.

    A sub-task of an execution that a check or a judge looked at has the score of the execution: whether the
    answer was accepted. One that nobody looked at has none, unless its call failed, which is a score of 0. A worker
    that gave up before another took over has a row of its own.

    Raises:
        DataError: A table is damaged or lacks a column.
    """
    import pyarrow as pa

    rows: dict[tuple[str, int, int, str], dict[str, Any]] = {}
    for path in tables:
        try:
            table = read_parquet(path, _COLUMNS)
        except (OSError, pa.ArrowException, KeyError) as error:
            raise DataError(f"The table {path} cannot be read: {error}.", remedy="Materialise it again.") from error
        for execution in table.to_pylist():
            for row in _rows(execution):
                rows[row["execution_id"], row["attempt"], row["node"], row["worker"]] = row
    ordered = sorted(rows.values(), key=lambda row: (row["timestamp"], row["execution_id"], row["node"], row["worker"]))
    return pa.Table.from_pylist(ordered, schema=outcomes_schema())


def metrics_of(outcomes: pa.Table) -> pa.Table:
    """Summarise each worker in each task type, and over all of them."""
    import pyarrow as pa

    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in outcomes.to_pylist():
        for task_type in (ALL_TYPES, row["task_type"]):
            groups.setdefault((row["worker"], task_type), []).append(row)
    rows = []
    for (worker, task_type), own in sorted(groups.items()):
        scores, costs = _measured(own, "score"), _measured(own, "cost_usd")
        times = _measured(own, "latency_ms")
        rows.append(
            {
                "worker": worker,
                "task_type": task_type,
                "calls": len(own),
                "completed": sum(row["completed"] for row in own),
                "scored": len(scores),
                "success_rate": _mean(scores),
                "cost_usd": _mean(costs),
                "latency_ms_p50": float(np.quantile(times, 0.5)) if times else None,
                "latency_ms_p95": float(np.quantile(times, 0.95)) if times else None,
                "input_tokens": _mean(_measured(own, "input_tokens")),
                "output_tokens": _mean(_measured(own, "output_tokens")),
                "total_cost_usd": float(sum(costs)),
                "simulated": any(row["simulated"] for row in own),
            }
        )
    return pa.Table.from_pylist(rows, schema=metrics_schema())


def features_of(outcomes: pa.Table) -> pa.Table:
    """Describe each sub-task as routing sees it, without its embedding, which the encoder's cache holds."""
    import pyarrow as pa

    groups: dict[str, list[dict[str, Any]]] = {}
    for row in outcomes.to_pylist():
        groups.setdefault(row["query_id"], []).append(row)
    rows = [
        {
            "query_id": query_id,
            "task_type": own[-1]["task_type"],
            "chars": len(own[-1]["text"]),
            "words": len(own[-1]["text"].split()),
            "subtasks": own[-1]["subtasks"],
            "parents": own[-1]["parents"],
            "outcomes": len(own),
            "workers": len({row["worker"] for row in own}),
            "lexical": lexical(own[-1]["text"]),
        }
        for query_id, own in sorted(groups.items())
    ]
    return pa.Table.from_pylist(rows, schema=features_schema())


def learnable(outcomes: pa.Table) -> OutcomeTable:
    """Return sub-tasks by workers; repeated outcomes of one worker at one sub-task are averaged.

    Rows of a corpus' test split are left out.

    Raises:
        DataError: No row has a score.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    texts, kinds = {}, {}
    for row in outcomes.to_pylist():
        if row["score"] is None or row["split"] == "test":
            continue
        groups.setdefault((row["query_id"], row["worker"]), []).append(row)
        texts[row["query_id"]], kinds[row["query_id"]] = row["text"], row["task_type"]
    rows = [
        {
            "query_id": query_id,
            "worker": worker,
            "task_type": kinds[query_id],
            "completed": True,  # a failed call has the score 0 already
            "score": _mean(_measured(own, "score")),
            "cost_usd": _mean(_measured(own, "cost_usd")),
            "latency_ms": _mean(_measured(own, "latency_ms")),
            "output_tokens": _mean(_measured(own, "output_tokens")),
        }
        for (query_id, worker), own in groups.items()
    ]
    return build_table(rows, texts)


def write_routing_table(table: pa.Table, folder: Path, name: str) -> Path:
    """Write one of the three tables; a reader sees the old one or the new one.

    Raises:
        StorageError: The folder cannot be written.
    """
    import pyarrow.parquet as pq

    path, temporary = folder / name, folder / f".{name}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error.strerror}.", path=str(path)) from error
    return path


def read_routing_table(folder: Path, name: str) -> pa.Table:
    """Read one of the three tables.

    Raises:
        DataError: It is missing or damaged.
    """
    import pyarrow as pa

    try:
        return read_parquet(folder / name)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"The table {folder / name} cannot be read: {error}.", remedy="Materialise the upstream asset first."
        ) from error


def write_tables(outcomes: pa.Table, folder: Path) -> dict[str, int]:
    """Write all three tables of some outcomes; returns their rows by file name."""
    tables = {OUTCOMES_ASSET: outcomes, METRICS_ASSET: metrics_of(outcomes), FEATURES_ASSET: features_of(outcomes)}
    for name, table in tables.items():
        write_routing_table(table, folder, name)
    return {name: table.num_rows for name, table in tables.items()}


def _rows(execution: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    subtasks: Sequence[Mapping[str, Any]] = sorted(execution["subtasks"] or (), key=lambda subtask: subtask["index"])
    if not subtasks:
        return
    instruction = planning_text(execution["instruction"].strip(), execution["inputs"] or ())
    texts = subtask_texts(instruction, [subtask["description"] or "" for subtask in subtasks])
    looked = bool(execution["checks"]) or _judged(execution["execution_result"])
    parents = execution["dependencies"] or [()] * len(subtasks)
    for text, subtask in zip(texts, subtasks, strict=True):
        if subtask["status"] == "skipped":
            continue
        done = subtask["status"] == "done"
        index = subtask["index"]
        common = {
            "query_id": query_id(text, subtask["task_type"]),
            **{name: execution[name] for name in ("execution_id", "attempt", "timestamp", "split", "source")},
            "node": index,
            "text": text,
            "task_type": subtask["task_type"],
            "subtasks": len(subtasks),
            "parents": len(parents[index]) if index < len(parents) else 0,
        }
        for name in subtask["gave_up"] or ():
            if name != subtask["worker"]:
                failed = {"worker": name, "simulated": bool(subtask["simulated"]), "completed": False, "score": 0.0}
                yield {**common, **failed}
        yield {
            **common,
            "worker": subtask["worker"],
            "simulated": bool(subtask["simulated"]),
            "completed": done,
            "score": (float(execution["success"]) if looked else None) if done else 0.0,
            "cost_usd": subtask["cost_usd"],
            "latency_ms": subtask["latency_ms"] if done else None,
            "input_tokens": subtask["input_tokens"],
            "output_tokens": subtask["output_tokens"] if done else None,
            "propensity": subtask["propensity"],
        }


def query_id(text: str, task_type: str) -> str:
    """Identity of a sub-task: the same words and kind are the same."""
    return hashlib.sha256(f"{task_type}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _judged(result: str | None) -> bool:
    if not result or '"review"' not in result:
        return False
    review = json.loads(result).get("review")
    return isinstance(review, dict) and review.get("by") != "nobody"


def _measured(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [float(row[name]) for row in rows if row[name] is not None]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
