"""From the strengths of several locators to one list of rows."""

from __future__ import annotations

import numpy as np

from orchestai.validation.localize.rows import RowScores
from orchestai.validation.result import CellProblem, Localization, Severity

_LOW, _MEDIUM = 0.01, 0.05
_TOP = 10
_DOUBT = {"label": 0.9, "outlier": 0.9}
"""A hash does not err; a model does: its surest row comes after the repeated ones."""


def fuse(scores: RowScores, cells: tuple[CellProblem, ...], *, limit: int) -> Localization:
    """Return the rows that at least one locator names, the strongest first.

    A row's strength is `1 - product(1 - s)` over the locators that name it: two weak reasons add up.
    """
    total = len(next(iter(scores.strength.values()))) if scores.strength else 0
    left = np.ones(total)
    named = np.zeros(total, bool)
    counts = {}
    for name, values in scores.strength.items():
        hits = scores.named[name]
        counts[name] = int(hits.sum())
        left[hits] *= 1 - _DOUBT.get(name, 1.0) * values[hits].clip(0, 0.999)
        named |= hits
    for cell in cells:
        place = cell.row - scores.first
        if 0 <= place < total:
            left[place] *= 1 - 0.85 * cell.strength
            named[place] = True
    counts["cells"] = len(cells)
    fused = 1 - left
    rows = np.flatnonzero(named)
    order = rows[np.lexsort((rows, -fused[rows]))]
    shown = order[:limit]
    by_row: dict[int, list[str]] = {}
    for cell in cells:
        by_row.setdefault(cell.row - scores.first, []).append(f"cell:{cell.column}")
    reasons = tuple(
        (*(name for name in scores.strength if scores.named[name][row]), *by_row.get(int(row), ())) for row in shown
    )
    share = len(rows) / total if total else 0.0
    severity: Severity = "none" if not len(rows) else "low" if share < _LOW else "medium" if share < _MEDIUM else "high"
    return Localization(
        problematic_indices=tuple(int(row) + scores.first for row in shown),
        scores=tuple(round(float(fused[row]), 4) for row in shown),
        reasons=reasons,
        severity=severity,
        top_contributors=tuple(f"row_{int(row) + scores.first}" for row in shown[:_TOP]),
        counts=counts,
        cells=cells,
        truncated=len(rows) > limit,
        total=len(rows),
    )
