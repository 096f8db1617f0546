"""Mode collapse: cells of the reference that the table covers no more.

Coverage in the sense of Naeem et al. 2020 (arXiv:2002.09797), over k-means cells as in Richardson & Weiss 2018
(arXiv:1805.12462). Deviation: a cell that is thinned counts with the square of what it lost, so that what sampling
does to every cell adds up to little, and a cell that is gone counts in full.
"""

from __future__ import annotations

import numpy as np

from orchestai.validation.calibrate import calibrated
from orchestai.validation.compare import Comparison
from orchestai.validation.result import Reading
from orchestai.validation.summary import Array


def measure(given: Comparison) -> tuple[list[Reading | None], dict[str, object]]:
    """Return the mass of the reference that is lost, and how many cells are covered."""
    # The last one is no cell: rows far from every reference row cover nothing, however near a centre they lie.
    table, reference = given.table_summary.cells[:-1], given.reference_summary.cells[:-1]
    null = lost_mass(given.null_tables.cells[..., :-1], given.null_references.cells[..., :-1])
    worst = 1.0 - float(reference.max())  # only the largest mode is left
    value = float(lost_mass(table, reference))
    empty = (table == 0) & (reference > 0)
    detail: dict[str, object] = {
        "cells": int((reference > 0).sum()),
        "cells_empty": int(empty.sum()),
        "reference_share_in_empty_cells": float(reference[empty].sum()),
    }
    return [calibrated("lost reference mass", value, null, worst)], detail


def lost_mass(table: Array, reference: Array) -> Array:
    """Return the sum over cells of p max(0, 1 - q/p)^2, with p of the reference and q of the table (...,)."""
    ratio = np.divide(table, reference, out=np.ones_like(reference), where=reference > 0)
    return np.asarray((reference * np.square(1 - ratio.clip(max=1.0))).sum(-1))
