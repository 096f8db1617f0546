"""Reading back what an import wrote."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestai.contracts import PlanExample
from orchestai.errors import DataError
from orchestai.importers.sink import OUTCOMES_FILE, OUTCOMES_SCHEMA, PLANS_FILE, PLANS_SCHEMA
from orchestai.importers.splits import normalized


def read_plans(folder: Path) -> list[PlanExample]:
    """Read `plans.parquet`.

    The group of an example is the hash of its instruction without case and spacing, so that two records of
    one instruction never end up on both sides of a split by group.

    Raises:
        DataError: The file is missing or is not what an import writes.
    """
    table = _read(folder / PLANS_FILE, PLANS_SCHEMA.names[:4])
    return [_example(row, folder / PLANS_FILE) for row in table.to_pylist()]


def read_outcomes(folder: Path) -> pa.Table:
    """Read `outcomes.parquet`.

    Raises:
        DataError: The file is missing or is not what an import writes.
    """
    return _read(folder / OUTCOMES_FILE, OUTCOMES_SCHEMA.names)


def _example(row: dict[str, Any], path: Path) -> PlanExample:
    nodes, links = row["nodes"], row["links"]
    parents: list[list[int]] = [[] for _ in nodes]
    for link in links:
        if len(link) != 2 or not 0 <= link[0] < link[1] < len(nodes):
            raise DataError(f"{path}: the plan {row['id']!r} has the link {link}; links run forwards.")
        parents[link[1]].append(link[0])
    digest = hashlib.sha256(normalized(row["instruction"]).encode("utf-8", "surrogatepass")).hexdigest()
    return PlanExample(
        id=row["id"],
        instruction=row["instruction"],
        task_types=tuple(nodes),
        dependencies=tuple(tuple(sorted(each)) for each in parents),
        group=digest[:16],
    )


def _read(path: Path, columns: list[str]) -> pa.Table:
    if not path.is_file():
        raise DataError(
            f"There is no {path.name} in {path.parent}.",
            remedy="`orchestai import KIND DIR --out D` writes it, if the data set has what belongs there.",
        )
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}.", remedy="Import again.") from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}.", remedy="Import again.")
    return table
