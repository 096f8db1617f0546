"""Single values that do not fit: by the table's own dependencies, spellings, formats and ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.columns import Column
from orchestai.validation.localize.dependencies import broken_dependencies
from orchestai.validation.localize.spelling import Found, Texts, odd_texts, texts_of
from orchestai.validation.profile import ReferenceProfile
from orchestai.validation.result import CellProblem
from orchestai.validation.settings import GateSettings

if TYPE_CHECKING:
    import pyarrow as pa

LOOKED_AT = 20_000
"""Rows in which single cells are looked for."""
_SHOWN = 60
_FAR = 2.0
_RARELY_MISSING = 0.1


def find_cells(
    table: pa.Table,
    profile: ReferenceProfile,
    settings: GateSettings,
    *,
    rows: NDArray[np.int64],
    from_reference: bool,
) -> tuple[CellProblem, ...]:
    """Return the values that do not fit, the surest first.

    Args:
        table: Rows as they were read.
        profile: The reference, or the table itself.
        settings: How many are listed.
        rows: Their numbers.
        from_reference: Whether `profile` is of another table, whose ranges then hold.
    """
    best: dict[tuple[int, str], CellProblem] = {}
    texts = {name: found for name in table.column_names if (found := texts_of(table[name])) is not None}
    for name, column in texts.items():
        for place, reason in odd_texts(column).items():
            _keep(best, rows, name, column.text(place), place, reason)
    for place, name, reason in moved_values(texts):
        _keep(best, rows, name, texts[name].text(place), place, reason)
    for place, name, reason in broken_dependencies(texts):
        _keep(best, rows, name, texts[name].text(place), place, reason)
    known = {column.name: column for column in profile.encoder.columns}
    for name in table.column_names:
        if name not in texts and name in known and from_reference:
            for place, reason in far_numbers(table[name], known[name]).items():
                _keep(best, rows, name, str(table[name][place].as_py()), place, reason)
    ordered = sorted(best.values(), key=lambda cell: (-cell.strength, cell.row, cell.column))
    return tuple(ordered[: settings.max_problem_rows])


def _keep(
    best: dict[tuple[int, str], CellProblem], rows: NDArray[np.int64], name: str, value: str, place: int, reason: Found
) -> None:
    cell = CellProblem(
        row=int(rows[place]),
        column=name,
        value=value[:_SHOWN],
        expected=None if reason.expected is None else reason.expected[:_SHOWN],
        reason=reason.reason,
        strength=round(reason.strength, 3),
    )
    old = best.get((cell.row, name))
    if old is None or old.strength < cell.strength:
        best[cell.row, name] = cell


def far_numbers(column: pa.ChunkedArray, known: Column) -> dict[int, Found]:
    """Return numbers beyond the reference's range by more than twice its width."""
    import pyarrow.types as kinds

    if known.kind != "number" or not (kinds.is_floating(column.type) or kinds.is_integer(column.type)):
        return {}
    values = column.cast("double", safe=False).to_numpy()
    low, high = known.knots[0], known.knots[-1]
    reach = _FAR * max(high - low, known.scale)
    with np.errstate(invalid="ignore", over="ignore"):
        far = np.flatnonzero((values > high + reach) | (values < low - reach))
    text = f"outside {low:g} to {high:g}"
    return {int(place): Found(text, None, 0.8) for place in far}


def moved_values(texts: dict[str, Texts]) -> list[tuple[int, str, Found]]:
    """Return cells that are missing in a column that is hardly ever so, and where a neighbour swallowed them.

    A city `Saint Louis MO` beside an empty state: the last word is a known state.
    """
    found: list[tuple[int, str, Found]] = []
    for name, column in texts.items():
        gaps = np.flatnonzero(column.missing)
        if not 0 < len(gaps) <= _RARELY_MISSING * len(column.missing):
            continue
        common = {text for text, count in zip(column.distinct, column.counts, strict=True) if count > 1 and text}
        for place in gaps:
            holder, word = _holder(texts, name, common, int(place))
            if holder is None:
                continue
            found.append((int(place), name, Found(f"missing; {holder!r} holds it", word, 0.9)))
            rest = texts[holder].text(int(place))[: -len(word)].rstrip(" ,")
            found.append((int(place), holder, Found(f"holds a value of {name!r}", rest, 0.9)))
    return found


def _holder(texts: dict[str, Texts], name: str, common: set[str], place: int) -> tuple[str | None, str]:
    for other, column in texts.items():
        words = column.text(place).replace(",", " ").split()
        if other != name and len(words) > 1 and words[-1] in common:
            return other, words[-1]
    return None, ""
