"""Columns that determine other columns, and the cells that break such a rule."""

from __future__ import annotations

import numpy as np

from orchestai.validation.localize.spelling import Found, Texts

_SURE = 0.9
_GROUP = 4
_MAJORITY = 0.75
_COLUMNS = 30


def broken_dependencies(texts: dict[str, Texts]) -> list[tuple[int, str, Found]]:
    """Return the cells that differ from what another column determines.

    Column A determines column B if, in groups of four or more rows that share a value of A, nearly all rows share a
    value of B. In a group with a clear majority the others are broken: an approximate functional dependency.
    """
    usable = [name for name, column in texts.items() if 2 <= len(column.distinct) <= 0.7 * len(column.codes)]
    usable = usable[:_COLUMNS]
    votes: dict[tuple[int, str], dict[str, int]] = {}
    for left in usable:
        for right in usable:
            if left == right:
                continue
            for place, expected in _breaks(texts[left], texts[right]):
                by_value = votes.setdefault((place, right), {})
                by_value[expected] = by_value.get(expected, 0) + 1
    found = []
    for (place, name), by_value in votes.items():
        expected = max(by_value, key=lambda value: by_value[value])
        strength = 1 - 0.3 / by_value[expected]
        found.append((place, name, Found("differs from what another column determines", expected, strength)))
    return found


def _breaks(left: Texts, right: Texts) -> list[tuple[int, str]]:
    """Return rows, and the value expected there, in which `left` determines `right` and the row differs."""
    known = ~left.missing
    pairs = left.codes * len(right.distinct) + right.codes
    distinct, counts = np.unique(pairs[known], return_counts=True)
    groups, values = distinct // len(right.distinct), distinct % len(right.distinct)
    size = np.bincount(groups, weights=counts, minlength=len(left.distinct))
    order = np.lexsort((-counts, groups))
    _, first = np.unique(groups[order], return_index=True)
    top = order[first]
    top_value, top_count = np.full(len(left.distinct), -1), np.zeros(len(left.distinct))
    top_value[groups[top]], top_count[groups[top]] = values[top], counts[top]
    large = size >= _GROUP
    # A column that is nearly constant is determined by everything, which says nothing.
    commonest = right.counts.max() / max(len(right.codes), 1)
    if not large.any() or size[large].sum() < 0.5 * len(left.codes):
        return []
    held = top_count[large].sum() / size[large].sum()
    if held < _SURE or 1 - held > 0.5 * (1 - commonest):
        return []
    clear = large & (top_count >= _MAJORITY * size)
    rows = np.flatnonzero(known & clear[left.codes] & (right.codes != top_value[left.codes]))
    return [(int(row), right.distinct[top_value[left.codes[row]]]) for row in rows]
