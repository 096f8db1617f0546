"""Outcome tables: who answered what, how well, at what price, in what time."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestai.errors import DataError, StorageError

Array = npt.NDArray[np.float64]

OUTCOMES_ASSET = "routing_outcomes.parquet"
METRICS_ASSET = "worker_metrics.parquet"
FEATURES_ASSET = "features.parquet"

_MEASURES = ("scores", "cost_usd", "latency_ms", "output_tokens")


@dataclass(frozen=True)
class OutcomeTable:
    """Sub-tasks by workers; NaN where a worker was not tried or a thing not measured.

    Attributes:
        ids: Identity of each sub-task.
        texts: What was asked.
        families: Kind of each sub-task: its task type, or the family that a data set names.
        workers: Names, the columns of what follows.
        scores: [N, W] quality of the answer, 0 to 1; 0 for a call that failed.
        cost_usd: [N, W] dollars.
        latency_ms: [N, W] milliseconds.
        output_tokens: [N, W] tokens of the answer.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    families: tuple[str, ...]
    workers: tuple[str, ...]
    scores: Array
    cost_usd: Array
    latency_ms: Array
    output_tokens: Array

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def family_names(self) -> tuple[str, ...]:
        """The families, sorted."""
        return tuple(sorted(set(self.families)))

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | Sequence[int]) -> OutcomeTable:
        """Return some of the rows: places, or a mask."""
        chosen = np.asarray(rows)
        places = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen.astype(np.int64)
        words: dict[str, Any] = {
            name: tuple(getattr(self, name)[place] for place in places) for name in ("ids", "texts", "families")
        }
        return replace(self, **words, **{name: getattr(self, name)[places] for name in _MEASURES})

    def columns(self, workers: Sequence[str]) -> OutcomeTable:
        """Return the table of these workers, in this order.

        Raises:
            DataError: One of them is not in the table.
        """
        missing = [name for name in workers if name not in self.workers]
        if missing:
            raise DataError(
                f"The outcomes have no worker {', '.join(missing)}.", remedy=f"They have {', '.join(self.workers)}."
            )
        places = [self.workers.index(name) for name in workers]
        return replace(self, workers=tuple(workers), **{name: getattr(self, name)[:, places] for name in _MEASURES})

    def with_costs(self, cost_usd: Array) -> OutcomeTable:
        """Return the same outcomes at other prices."""
        if cost_usd.shape != self.scores.shape:
            raise DataError(f"Costs must have the shape {self.scores.shape}, got {cost_usd.shape}.")
        return replace(self, cost_usd=cost_usd)


def build_table(
    rows: Sequence[Mapping[str, Any]], texts: Mapping[str, str], *, families: Mapping[str, str] | None = None
) -> OutcomeTable:
    """Make a table of single outcomes.

    Args:
        rows: Each has `query_id`, `worker`, `task_type`, `completed` and, where known, `score`, `cost_usd`,
            `latency_ms`, `output_tokens`. Of two for one sub-task and worker the later one counts.
        texts: What was asked, by id; a row without a text is left out, since nothing can be learned from it.
        families: Family by id where it is not the task type.

    Raises:
        DataError: No row is usable.
    """
    known = [row for row in rows if row["query_id"] in texts and _score(row) is not None]
    if not known:
        raise DataError(
            "There is no scored outcome with a text.", remedy="Give outcomes that have `score`, and their plans."
        )
    ids = {name: place for place, name in enumerate(dict.fromkeys(row["query_id"] for row in known))}
    workers = {name: place for place, name in enumerate(dict.fromkeys(row["worker"] for row in known))}
    kinds = [""] * len(ids)
    tables = {name: np.full((len(ids), len(workers)), np.nan) for name in _MEASURES}
    for row in known:
        place, column = ids[row["query_id"]], workers[row["worker"]]
        kinds[place] = (families or {}).get(row["query_id"], row["task_type"])
        tables["scores"][place, column] = _score(row)
        for name in _MEASURES[1:]:
            value = row.get(name)
            tables[name][place, column] = np.nan if value is None else float(value)
    return OutcomeTable(
        ids=tuple(ids),
        texts=tuple(texts[name] for name in ids),
        families=tuple(kinds),
        workers=tuple(workers),
        **tables,
    )


def table_of_import(folder: Path) -> OutcomeTable:
    """Read what an import wrote: `outcomes.parquet` with the texts of `plans.parquet`.

    Raises:
        DataError: A file is missing or holds nothing to learn from.
    """
    from orchestai.importers import read_outcomes, read_plans

    texts = {plan.id: plan.instruction for plan in read_plans(folder)}
    return build_table(read_outcomes(folder).to_pylist(), texts)


def worker_metrics(table: OutcomeTable) -> list[dict[str, Any]]:
    """Summarise each worker in each family: the asset `worker_metrics`.

    Returns:
        One row a worker and family (`*` for all): how often tried, mean score, dollars, tokens, median time.
    """
    rows = []
    families = np.array(table.families)
    for family in ("*", *table.family_names):
        inside = np.ones(len(table), dtype=np.bool_) if family == "*" else families == family
        for column, worker in enumerate(table.workers):
            scores = table.scores[inside, column]
            tried = int((~np.isnan(scores)).sum())
            if not tried:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # means of things that were never measured
                means = {
                    "score": np.nanmean(scores),
                    "cost_usd": np.nanmean(table.cost_usd[inside, column]),
                    "output_tokens": np.nanmean(table.output_tokens[inside, column]),
                    "latency_ms_p50": np.nanmedian(table.latency_ms[inside, column]),
                }
            facts = {name: None if np.isnan(value) else float(value) for name, value in means.items()}
            rows.append({"worker": worker, "family": family, "outcomes": tried, **facts})
    return rows


def write_assets(table: OutcomeTable, folder: Path) -> dict[str, int]:
    """Write the three tables that routing is made from: outcomes, metrics a worker, features a sub-task.

    Returns:
        Rows by file name.

    Raises:
        StorageError: The folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from orchestai.routing.features import lexical

    places = np.argwhere(~np.isnan(table.scores))
    outcomes = [
        {
            "query_id": table.ids[row],
            "worker": table.workers[column],
            "family": table.families[row],
            **{
                name.removesuffix("s") if name == "scores" else name: _plain(getattr(table, name)[row, column])
                for name in _MEASURES
            },
        }
        for row, column in places
    ]
    features = [
        {"query_id": name, "family": family, "chars": len(text), "lexical": lexical(text)}
        for name, family, text in zip(table.ids, table.families, table.texts, strict=True)
    ]
    written = {}
    for name, rows in (
        (OUTCOMES_ASSET, outcomes),
        (METRICS_ASSET, worker_metrics(table)),
        (FEATURES_ASSET, features),
    ):
        temporary = folder / f".{name}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows), temporary, compression="zstd")
            temporary.replace(folder / name)
        except OSError as error:
            raise StorageError(f"Cannot write {folder / name}: {error.strerror}.", path=str(folder)) from error
        written[name] = len(rows)
    return written


def joined(tables: Sequence[OutcomeTable]) -> OutcomeTable:
    """Put tables below each other; a worker that one of them lacks was not tried there.

    Raises:
        DataError: There is none.
    """
    if not tables:
        raise DataError("There is no outcome table to join.")
    workers = tuple(dict.fromkeys(name for table in tables for name in table.workers))
    words: dict[str, Any] = {
        field.name: tuple(value for table in tables for value in getattr(table, field.name))
        for field in fields(OutcomeTable)
        if field.name in ("ids", "texts", "families")
    }
    measures: dict[str, Any] = {}
    for name in _MEASURES:
        whole = np.full((sum(map(len, tables)), len(workers)), np.nan)
        start = 0
        for table in tables:
            whole[start : start + len(table), [workers.index(each) for each in table.workers]] = getattr(table, name)
            start += len(table)
        measures[name] = whole
    return OutcomeTable(workers=workers, **words, **measures)


def _score(row: Mapping[str, Any]) -> float | None:
    if not row.get("completed", True):
        return 0.0
    score = row.get("score")
    return None if score is None else float(score)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
