"""Repeated rows and how evenly labels occur."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from typing import TYPE_CHECKING

from orchestai.validation.report import DuplicateStats, LabelBalance

if TYPE_CHECKING:
    import pyarrow as pa

LEARNED_COLUMNS = (
    "instruction",
    "task_types",
    "dependencies",
    "model_selections",
    "success",
    "cost",
    "latency_ms",
    "reward_success",
    "reward_cost",
    "reward_latency",
)
"""What a planner learns from; two rows equal in all of these say the same thing twice."""


def find_duplicates(table: pa.Table, columns: tuple[str, ...] = LEARNED_COLUMNS) -> DuplicateStats:
    """Count the rows of `table` that repeat an earlier one in all of `columns` that the table has."""
    present = tuple(name for name in columns if name in table.column_names)
    if not present or not table.num_rows:
        return DuplicateStats(columns=present, rows=0, share=0.0)
    seen = {
        hashlib.sha256(json.dumps(list(row.values()), default=str).encode()).digest()
        for batch in table.select(present).to_batches(max_chunksize=4096)
        for row in batch.to_pylist()
    }
    repeated = table.num_rows - len(seen)
    return DuplicateStats(columns=present, rows=repeated, share=repeated / table.num_rows)


def measure_balance(table: pa.Table, column: str) -> LabelBalance:
    """Count the labels of `column`, which holds one label or a list of labels a row.

    The entropy is divided by the logarithm of the number of labels that occur.
    """
    counts: Counter[str] = Counter()
    for value in table[column].to_pylist():
        if isinstance(value, list):
            counts.update(str(label) for label in value if label is not None)
        elif value is not None:
            counts[str(value)] += 1
    total = counts.total()
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    entropy = math.fsum(-count / total * math.log(count / total) for _, count in ordered)
    return LabelBalance(
        column=column,
        counts=dict(ordered),
        most_frequent=ordered[0][0] if ordered else None,
        share=ordered[0][1] / total if ordered else 0.0,
        entropy=entropy / math.log(len(ordered)) if len(ordered) > 1 else 0.0,
    )
