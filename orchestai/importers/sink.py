"""Writing an import: everything under temporary names first, renamed together at the end."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from orchestai.catalog import CATALOG_FILE, ImportedCatalog, write_catalog
from orchestai.contracts import MAX_SUBTASKS, Subtask, WorkflowGraph
from orchestai.contracts.base import Record
from orchestai.contracts.instruction import clean_instruction_text
from orchestai.errors import DataError, InputError, OrchestAIError, StorageError

PLANS_FILE = "plans.parquet"
OUTCOMES_FILE = "outcomes.parquet"
REJECTED_FILE = "rejected.jsonl"

PLANS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("instruction", pa.string(), nullable=False),
        pa.field("nodes", pa.list_(pa.string()), nullable=False),
        # Pairs of positions in `nodes`, parent first: a tool may occur twice, so a name would not do.
        pa.field("links", pa.list_(pa.list_(pa.int32())), nullable=False),
        pa.field("durations_s", pa.list_(pa.float64())),
        pa.field("optimal_s", pa.float64()),
    ]
)

OUTCOMES_SCHEMA = pa.schema(
    [
        pa.field("query_id", pa.string(), nullable=False),
        pa.field("worker", pa.string(), nullable=False),
        pa.field("task_type", pa.string(), nullable=False),
        pa.field("completed", pa.bool_(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("correct", pa.bool_()),
        pa.field("error", pa.string()),
        pa.field("prompt_chars", pa.int64()),
        pa.field("output_chars", pa.int64()),
        pa.field("input_tokens", pa.int64()),
        pa.field("output_tokens", pa.int64()),
        pa.field("tokens_estimated", pa.bool_()),
        pa.field("cost_usd", pa.float64()),
        pa.field("latency_ms", pa.float64()),
        pa.field("ttft_ms", pa.float64()),
    ]
)

_BATCH = 4096
_KEPT_CHARS = 2000


class RejectedRecordError(Exception):
    """A record that cannot be used; the import goes on without it."""


class ImportReport(Record):
    """What became of an import.

    Attributes:
        kind: The kind of data set.
        out: Folder that holds the files.
        plans: Plans written.
        outcomes: Outcomes written.
        rejected: Records left out; `rejected.jsonl` says why.
        reasons: How many were left out for each reason.
        task_types: Task types in the catalog.
        workers: Workers in the catalog.
        files: Names of the files written.
    """

    kind: str
    out: Path
    plans: int
    outcomes: int
    rejected: int
    reasons: dict[str, int]
    task_types: int
    workers: int
    files: tuple[str, ...]


class ImportSink:
    """Collects plans, outcomes and rejections of one import.

    Use it as a context manager: leaving it without `finish` removes what was written.

    Args:
        kind: The kind of data set.
        out: Folder for the files; made if missing. Files of an earlier import in it are replaced.
    """

    def __init__(self, kind: str, out: Path) -> None:
        self._kind = kind
        self._out = out
        self._staging = out / f".import-{os.getpid()}"
        self._plans = _Table(self._staging / PLANS_FILE, PLANS_SCHEMA)
        self._outcomes = _Table(self._staging / OUTCOMES_FILE, OUTCOMES_SCHEMA)
        self._rejected = 0
        self._reasons: Counter[str] = Counter()
        self._plan_ids: set[str] = set()
        self._outcome_keys: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        try:
            self._staging.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"Cannot write to {self._out}: {error.strerror}.", path=str(self._out)) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._plans.close()
        self._outcomes.close()
        shutil.rmtree(self._staging, ignore_errors=True)

    def add_plan(
        self,
        plan_id: str,
        instruction: str,
        nodes: Sequence[str],
        links: Iterable[tuple[int, int]],
        *,
        durations_s: Sequence[float] | None = None,
        optimal_s: float | None = None,
    ) -> None:
        """Check and take one plan; its nodes are put so that parents come before children.

        Raises:
            RejectedRecordError: It is no plan that could be run, or its id was there before.
        """
        if not plan_id:
            raise RejectedRecordError("empty id")
        if plan_id in self._plan_ids:
            raise RejectedRecordError("duplicate id")
        order, ordered_links = _in_order(nodes, list(links))
        row = {
            "id": plan_id,
            "instruction": _clean(instruction),
            "nodes": [nodes[index] for index in order],
            "links": ordered_links,
            "durations_s": None if durations_s is None else [durations_s[index] for index in order],
            "optimal_s": optimal_s,
        }
        self._plan_ids.add(plan_id)
        self._plans.add(row)

    def add_outcome(self, query_id: str, worker: str, task_type: str, *, completed: bool = True, **facts: Any) -> None:
        """Check and take one outcome; `facts` are columns of `OUTCOMES_SCHEMA`, unknown ones stay null.

        Raises:
            RejectedRecordError: The score is not within 0..1, or this worker answered this query before.
        """
        score = facts.get("score")
        if score is not None and not 0 <= score <= 1:  # also refuses NaN
            raise RejectedRecordError("score not within 0..1")
        if (query_id, worker) in self._outcome_keys:
            raise RejectedRecordError("duplicate outcome")
        self._outcome_keys.add((query_id, worker))
        self._outcomes.add(
            {"query_id": query_id, "worker": worker, "task_type": task_type, "completed": completed, **facts}
        )

    def reject(self, reason: str, *, file: Path, position: int, record: object) -> None:
        """Note a record that was left out, where it stood and why."""
        self._rejected += 1
        self._reasons[reason.split(":", 1)[0]] += 1
        text = record.decode("utf-8", "replace") if isinstance(record, bytes) else str(record)
        entry = {"file": file.name, "position": position, "reason": reason, "record": text[:_KEPT_CHARS]}
        with (self._staging / REJECTED_FILE).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def finish(self, catalog: ImportedCatalog) -> ImportReport:
        """Write the catalog, give all files their names and report.

        Raises:
            DataError: Not one record was usable.
            StorageError: The files cannot be written.
        """
        if not self._plans.rows and not self._outcomes.rows:
            reasons = ", ".join(f"{reason} ({n})" for reason, n in self._reasons.most_common(5))
            raise DataError(
                f"The {self._kind} import found no usable record. Rejected: {reasons or 'none'}.",
                remedy="Check that the folder holds the data set that the kind names.",
            )
        write_catalog(self._staging / CATALOG_FILE, catalog)
        self._plans.close()
        self._outcomes.close()
        written = []
        try:
            for name in (PLANS_FILE, OUTCOMES_FILE, REJECTED_FILE, CATALOG_FILE):
                staged = self._staging / name
                if staged.exists():
                    staged.replace(self._out / name)
                    written.append(name)
                else:
                    # A file of an earlier import would be taken for a part of this one.
                    (self._out / name).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"Cannot write to {self._out}: {error.strerror}.", path=str(self._out)) from error
        return ImportReport(
            kind=self._kind,
            out=self._out,
            plans=self._plans.rows,
            outcomes=self._outcomes.rows,
            rejected=self._rejected,
            reasons=dict(self._reasons.most_common()),
            task_types=len(catalog.tasks),
            workers=len(catalog.workers) if catalog.workers else 0,
            files=tuple(written),
        )


class _Table:
    """A Parquet file written in batches; no file without a row."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self._path = path
        self._schema = schema
        self._waiting: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, row: dict[str, Any]) -> None:
        self.rows += 1
        self._waiting.append(row)
        if len(self._waiting) >= _BATCH:
            self._flush()

    def close(self) -> None:
        if self._waiting:
            self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _flush(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd", write_page_checksum=True)
        self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
        self._waiting = []


def _clean(instruction: str) -> str:
    try:
        return clean_instruction_text(instruction)
    except InputError as error:
        raise RejectedRecordError(f"instruction: {error.message}") from error


def _in_order(nodes: Sequence[str], links: list[tuple[int, int]]) -> tuple[list[int], list[list[int]]]:
    """Sort topologically, as near to the given order as the links allow."""
    if not 1 <= len(nodes) <= MAX_SUBTASKS:
        raise RejectedRecordError(f"number of nodes: {len(nodes)}, allowed are 1 to {MAX_SUBTASKS}")
    parents: list[list[int]] = [[] for _ in nodes]
    for parent, child in dict.fromkeys(links):
        if not (0 <= parent < len(nodes) and 0 <= child < len(nodes)):
            raise RejectedRecordError(f"link to a node that does not exist: {parent} -> {child}")
        parents[child].append(parent)
    try:
        WorkflowGraph(nodes=tuple(Subtask(task_type=name) for name in nodes), dependencies=tuple(map(tuple, parents)))
    except (OrchestAIError, ValueError) as error:
        raise RejectedRecordError(f"graph: {error}") from error
    order: list[int] = []
    while len(order) < len(nodes):
        order.append(next(i for i in range(len(nodes)) if i not in order and all(p in order for p in parents[i])))
    place = {node: position for position, node in enumerate(order)}
    return order, sorted([place[p], place[c]] for c, ps in enumerate(parents) for p in ps)
