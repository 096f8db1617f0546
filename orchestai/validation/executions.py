"""Executions as a flat table that the gate can measure: one row an execution, plans taken apart into columns.

What a new model or a busy machine changes by itself is not among them: who planned and how surely, which workers
were taken, what they cost and how long they took. A model that has just been promoted would have its own logs
refused. The sensor `drift` and the watch over workers look at those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestai.contracts import PlanExample

if TYPE_CHECKING:
    import pyarrow as pa

_OUTCOMES = ("success", "completed", "simulated")
NEEDED = ("instruction", "task_types", "dependencies", *_OUTCOMES)
"""Columns of the execution log that are looked at; those that a table lacks are left out."""


def execution_plan_table(executions: pa.Table, task_types: Sequence[str]) -> pa.Table:
    """Return a row an execution (n, columns): its instruction, the shape of its plan, its outcome.

    Args:
        executions: Columns of the execution log.
        task_types: Names of the catalog: a column each, so that tables of different days have the same columns.
    """
    names = [name for name in NEEDED if name in executions.column_names]
    return _table(executions.select(names).to_pylist(), task_types, [name for name in _OUTCOMES if name in names])


def example_plan_table(examples: Iterable[PlanExample], task_types: Sequence[str]) -> pa.Table:
    """Return a row an example (n, columns): its instruction and the shape of its plan.

    Args:
        examples: Instructions with plans.
        task_types: Names of the catalog.
    """
    rows = [
        {"instruction": example.instruction, "task_types": example.task_types, "dependencies": example.dependencies}
        for example in examples
    ]
    return _table(rows, task_types, [])


def _table(rows: Sequence[Mapping[str, Any]], task_types: Sequence[str], outcomes: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    flat = [_flat(row, task_types, outcomes) for row in rows]
    names = list(_flat({}, task_types, outcomes))
    return pa.table({name: _column([row[name] for row in flat]) for name in names})


def _column(values: list[Any]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, from_pandas=True)


def _flat(row: Mapping[str, Any], task_types: Sequence[str], outcomes: Sequence[str]) -> dict[str, Any]:
    kinds = tuple(row.get("task_types") or ())
    parents = tuple(tuple(found or ()) for found in (row.get("dependencies") or ()))
    levels = _levels(parents)
    text = row.get("instruction") or ""
    counts = Counter(kinds)
    flat: dict[str, Any] = {
        "instruction": text or None,
        "instruction_words": len(text.split()),
        "subtasks": len(kinds),
        "links": sum(map(len, parents)),
        "depth": max(levels, default=-1) + 1,
        "width": max(Counter(levels).values(), default=0),
        "shape": _shape(parents),
        "first_type": kinds[0] if kinds else None,
        "last_type": kinds[-1] if kinds else None,
        "types": " ".join(sorted(kinds)) or None,
        **{f"n_{name}": counts[name] for name in task_types},
        "n_other_types": sum(count for name, count in counts.items() if name not in task_types),
    }
    return flat | {name: row.get(name) for name in outcomes}


def _levels(parents: Sequence[Sequence[int]]) -> list[int]:
    """Return the length of the longest path to each node; parents stand before children, anything else is no path."""
    levels: list[int] = []
    for node, found in enumerate(parents):
        levels.append(1 + max((levels[parent] for parent in found if 0 <= parent < node), default=-1))
    return levels


def _shape(parents: Sequence[Sequence[int]]) -> str | None:
    """Write the graph without its types, such as `-;0;0,1`."""
    return ";".join(",".join(map(str, sorted(found))) or "-" for found in parents) or None
