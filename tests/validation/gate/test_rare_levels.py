"""Texts that are nearly all different make no axes."""

from __future__ import annotations

import pyarrow as pa

from orchestai.validation.columns import fit_column, read_column


def test_a_level_needs_some_rows() -> None:
    often, once = ["often", "too"] * 400, [f"once {k}" for k in range(50)]
    column = fit_column("c", read_column(pa.array(often + once)))
    assert (column.kind, set(column.level_names)) == ("category", {"often", "too"})
    rare = fit_column("c", read_column(pa.array([f"x{k // 2}" for k in range(2_000)])))
    assert rare.kind == "text"
