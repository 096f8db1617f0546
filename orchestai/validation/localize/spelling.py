"""Texts that look unlike their column: spelled-out gaps, units in numbers, rare shapes, misspellings."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

_GAPS = frozenset({"n/a", "na", "#n/a", "nan", "null", "none", "missing", "?"})
_UNIT = re.compile(r"^\s*([-+]?\d+(?:\.\d+)?)\s*([^\d\s].*)$")
_NUMBER = re.compile(r"^\s*[-+]?\d+(?:\.\d+)?\s*$")
_MOST_DISTINCT = 4_000
_RARE_SHAPE = 0.02
_COMMON_SHAPES = 0.9
_CHANGED = 0.35


class Found(NamedTuple):
    """Why a value does not fit, what would, and how sure that is."""

    reason: str
    expected: str | None
    strength: float


class Texts(NamedTuple):
    """A column of texts by its distinct values."""

    distinct: tuple[str, ...]
    counts: NDArray[np.int64]  # (distinct,)
    codes: NDArray[np.int64]  # (n,) place in `distinct`
    missing: NDArray[np.bool_]  # (n,)

    def text(self, place: int) -> str:
        """Return the text of a row."""
        return self.distinct[int(self.codes[place])]


def texts_of(column: pa.ChunkedArray) -> Texts | None:
    """Take a column of texts apart; None if it holds none."""
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    if kinds.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (kinds.is_string(column.type) or kinds.is_large_string(column.type)):
        return None
    encoded = pc.dictionary_encode(column.combine_chunks().fill_null(""))
    encoded = encoded.combine_chunks() if hasattr(encoded, "combine_chunks") else encoded
    distinct = tuple(encoded.dictionary.to_pylist())
    codes = np.asarray(encoded.indices).astype(np.int64)
    empty = np.array([not text.strip() for text in distinct], bool)
    return Texts(distinct, np.bincount(codes, minlength=len(distinct)), codes, empty[codes])


def odd_texts(column: Texts) -> dict[int, Found]:
    """Return the rows whose text does not fit its column."""
    odd: dict[int, Found] = {}
    for rule in (_rare_shapes, _misspelled, _units, _gaps):  # the later is the surer, and wins
        odd |= rule(column)
    rows: dict[int, Found] = {}
    for code, found in odd.items():
        rows.update(dict.fromkeys(np.flatnonzero(column.codes == code).tolist(), found))
    return rows


def _gaps(column: Texts) -> dict[int, Found]:
    """Texts that say that nothing is there."""
    return {
        code: Found("a missing value spelled out", "", 0.9)
        for code, text in enumerate(column.distinct)
        if text.strip().lower() in _GAPS
    }


def _units(column: Texts) -> dict[int, Found]:
    """Numbers with a unit among plain numbers, or with units spelled in several ways."""
    matches = {code: found for code, text in enumerate(column.distinct) if (found := _UNIT.match(text))}
    plain = sum(int(column.counts[code]) for code, text in enumerate(column.distinct) if _NUMBER.match(text))
    with_unit = sum(int(column.counts[code]) for code in matches)
    filled = int((~column.missing).sum())
    spellings = Counter[str]()
    for code, found in matches.items():
        spellings[found.group(2).strip().lower()] += int(column.counts[code])
    usual = [unit for unit, count in spellings.items() if count >= 0.02 * max(with_unit, 1)]
    mixed = plain >= 0.5 * filled
    several = with_unit >= 0.9 * filled and 2 <= len(usual) <= 10 and _one_unit(usual)
    if not (mixed or several):
        return {}
    return {
        code: Found("a unit in a number", _trimmed(found.group(1)), 0.85)
        for code, found in matches.items()
        if several or found.group(2).strip().lower() in usual
    }


def _one_unit(units: list[str]) -> bool:
    """Say whether the units are spellings of one: they begin alike."""
    return len({unit[:1] for unit in units}) == 1


def _trimmed(number: str) -> str:
    return number[:-2] if number.endswith(".0") else number


def shape_of(text: str) -> str:
    """Return the text with runs of letters as `a` and of digits as `9`."""
    return re.sub(r"\d+", "9", re.sub(r"[^\W\d_]+", "a", text))


def _rare_shapes(column: Texts) -> dict[int, Found]:
    """Texts of a rare shape in a column of few shapes."""
    shapes = [shape_of(text) for text in column.distinct]
    counts = Counter[str]()
    for shape, count, text in zip(shapes, column.counts, column.distinct, strict=True):
        if text.strip():
            counts[shape] += int(count)
    total = counts.total()
    common = {shape for shape, count in counts.items() if count >= _RARE_SHAPE * total}
    if total < 50 or sum(counts[shape] for shape in common) < _COMMON_SHAPES * total or len(common) > 4:
        return {}
    # In columns of words every title has a shape of its own; shapes tell something where digits are involved.
    if not any("9" in shape for shape in common):
        return {}
    return {
        code: Found(f"looks unlike the others ({', '.join(sorted(common))})", None, 0.7)
        for code, shape in enumerate(shapes)
        if column.distinct[code].strip() and shape not in common and counts[shape] <= 0.01 * total + 2
    }


def _misspelled(column: Texts) -> dict[int, Found]:
    """Rare texts that differ in a few letters from one that is much more frequent."""
    if not 2 <= len(column.distinct) <= _MOST_DISTINCT:
        return {}
    by_length: dict[int, list[int]] = {}
    for code, text in enumerate(column.distinct):
        if column.counts[code] >= 3 and text.strip():
            by_length.setdefault(len(text), []).append(code)
    table = {
        length: (codes, np.array([[ord(char) for char in column.distinct[code]] for code in codes]))
        for length, codes in by_length.items()
    }
    found: dict[int, Found] = {}
    for code, text in enumerate(column.distinct):
        if len(text) not in table or column.counts[code] > 2:
            continue
        codes, letters = table[len(text)]
        mine = np.array([ord(char) for char in text])
        differs = letters != mine
        changed = differs.sum(1)
        place = int(changed.argmin())
        if (
            not 0 < changed[place] <= max(1, _CHANGED * len(text))
            or column.counts[codes[place]] < 4 * column.counts[code]
        ):
            continue
        usual = column.distinct[codes[place]]
        spots = np.flatnonzero(differs[place])
        # 34 and 37 are two numbers, not a misspelling.
        if any(text[spot].isdigit() and usual[spot].isdigit() for spot in spots):
            continue
        found[code] = Found("misspelled", usual, 0.8)
    return found
