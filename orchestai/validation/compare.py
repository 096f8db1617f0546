"""What each dimension is given: the table, the reference, and healthy draws of the same sizes."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.encode import Encoder
from orchestai.validation.settings import GateSettings
from orchestai.validation.space import Space
from orchestai.validation.states.hashes import HashCounts
from orchestai.validation.states.table import TableState
from orchestai.validation.summary import Described, Summary
from orchestai.validation.target import Target

Draws = NDArray[np.float64]
_MOST_DRAWN = 64


@dataclass(frozen=True)
class Comparison:
    """A table beside its reference.

    Attributes:
        table: Described sample of the table.
        reference: Described sample of the reference; scores of its rows leave the row itself out.
        table_summary: Means over `table`.
        reference_summary: Means over `reference`.
        null_tables: Healthy draws of the size of the table.
        null_references: The reference, once for each of `null_tables`.
        table_state: Finished state of the whole table.
        reference_state: Finished state of the whole reference.
        holdout: Nearest distances of the holdout's rows to the reference, or None.
        holdout_hashes: Its distinct rows, or None.
        target: What the cascade predicts, or None.
        destroyed: Summary of the reference after every column is shuffled alone.
        drawn: Memory of `healthy`, shared by all tables beside this reference.
    """

    settings: GateSettings
    encoder: Encoder
    space: Space
    table: Described
    reference: Described
    table_summary: Summary
    reference_summary: Summary
    null_tables: Summary
    null_references: Summary
    table_state: TableState
    reference_state: TableState
    holdout: np.ndarray[tuple[int], np.dtype[np.float32]] | None
    holdout_hashes: HashCounts | None
    target: Target | None
    destroyed: Summary
    destroyed_rows: Described
    drawn: dict[tuple[str | int, ...], Draws]

    def healthy(self, name: str, sizes: tuple[int, ...], draw: Callable[[np.random.Generator], Draws]) -> Draws:
        """Return what healthy tables show, drawn once for all tables of the same size (draws, ...).

        Args:
            name: Of the statistic; it also chooses the random numbers.
            sizes: Everything about the table that the draws depend on.
            draw: Makes them; it may use nothing of the table but `sizes`.
        """
        key: tuple[str | int, ...] = (name, *sizes)
        if key not in self.drawn:
            while len(self.drawn) >= _MOST_DRAWN:
                del self.drawn[next(iter(self.drawn))]
            self.drawn[key] = draw(np.random.default_rng([self.settings.seed, zlib.crc32(name.encode())]))
        return self.drawn[key]

    def rng(self, salt: int) -> np.random.Generator:
        """Return the generator of one dimension, always the same."""
        return np.random.default_rng([self.settings.seed, salt])
