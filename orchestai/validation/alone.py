"""What can be said of a table without a reference: little, and the rest is said to be not measurable."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from orchestai.validation.calibrate import dimension, not_measurable
from orchestai.validation.columns import read_column
from orchestai.validation.neartext import find_near
from orchestai.validation.profile import ReferenceProfile
from orchestai.validation.result import DimensionScore, Reading
from orchestai.validation.settings import DIMENSIONS, GateSettings
from orchestai.validation.states.table import TableState

if TYPE_CHECKING:
    import pyarrow as pa

_NO_REFERENCE = "needs a reference: give one, or say that the rows are in order of time"
_SLACK = 0.01


def measure_alone(
    profile: ReferenceProfile, state: TableState, natural: float, settings: GateSettings
) -> dict[str, DimensionScore]:
    """Return repetition and quality in absolute terms; the other dimensions are not measurable.

    Args:
        profile: What was learned of the table itself.
        state: Its state.
        natural: Share of repeated rows that chance explains.
        settings: Thresholds.
    """
    found: dict[str, DimensionScore] = {name: not_measurable(_NO_REFERENCE) for name in DIMENSIONS}
    limits = {"warn": settings.warn_threshold, "critical": settings.critical_threshold, "beyond": 0.0}
    repeated = state.exact.repeated_share()
    limit = natural + _SLACK
    reading = _reading("repeated rows", repeated, limit) if limit < 0.5 else None
    found["pattern_repetition"] = dimension(
        [reading],
        **limits,
        nothing="the columns have so few values that rows repeat by chance",
        detail={"repeated_share": repeated, "expected_by_chance": natural, **_texts(state)},
    )
    columns = profile.encoder.columns
    empty = sum(column.kind == "empty" for column in columns) / max(len(columns), 1)
    bad = float(state.bad_cells.max(initial=0)) / max(state.rows, 1)
    found["quality_degradation"] = dimension(
        [_reading("impossible values", bad, 0.0), _reading("columns without a value", empty, 0.0)],
        **limits,
        nothing="",
        detail={"label_errors": "the rate of wrong labels is not measurable without a reference; rows are named"},
    )
    return found


def _texts(state: TableState) -> dict[str, float]:
    """Return the share of texts that nearly repeat another one: what is natural is not known, so it has no score."""
    near = find_near(state.texts)
    return {} if near is None else {"nearly_repeated_texts": near.share}


def natural_repetition(raw: pa.Table, rows: int) -> float:
    """Return the share of repeated rows to expect if the columns were independent of each other.

    Two rows are equal with the product of the columns' own chances; `1 - (1 - exp(-x)) / x` of the rows then repeat
    another one, with x the expected number of rows equal to a given one.
    """
    chance = 0.0
    for name in raw.column_names:
        hashes = read_column(raw[name].combine_chunks() if raw[name].num_chunks != 1 else raw[name].chunk(0)).hashes()
        counts = np.unique(hashes, return_counts=True)[1].astype(np.float64)
        total = counts.sum()
        pairs = float((counts * (counts - 1)).sum() / max(total * (total - 1), 1))
        chance += math.log(pairs) if pairs > 0 else -math.log(max(total * total, 2))
    equal = rows * math.exp(max(chance, -700))
    return 1 + math.expm1(-equal) / equal if equal > 1e-9 else 0.0


def _reading(name: str, value: float, limit: float) -> Reading:
    effect = float(np.clip((value - limit) / (1 - limit), 0, 1))
    return Reading(name=name, value=value, q95=limit, worst=1.0, effect=effect, noise=limit / 2)
