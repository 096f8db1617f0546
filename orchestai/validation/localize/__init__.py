"""Where the problems are: one locator a kind of problem, fused into one list of rows."""

from __future__ import annotations

from orchestai.validation.localize.fuse import fuse
from orchestai.validation.localize.rows import RowScores, score_rows

__all__ = ["RowScores", "fuse", "score_rows"]
