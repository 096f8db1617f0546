"""Pattern repetition: rows that repeat another row of the table, exactly or nearly, or one of the reference.

Tables of few columns repeat by nature. What counts is the excess over what the reference lets expect at the size of
the table: by rarefaction where the table is no larger, by its frequencies where it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.calibrate import calibrated, unseen
from orchestai.validation.compare import Comparison
from orchestai.validation.rarefaction import expected_repetition
from orchestai.validation.result import Reading
from orchestai.validation.states.hashes import HashCounts

_DRAWS = 100


def measure(given: Comparison) -> tuple[list[Reading | None], dict[str, object]]:
    """Return exact repetition, near repetition, and copies of the reference, beyond what is natural."""
    table, reference = given.table_state, given.reference_state
    readings = [
        excess("repeated rows", table.exact, reference.exact, given),
        excess("nearly repeated rows", table.coarse, reference.coarse, given),
    ]
    detail: dict[str, object] = {
        "repeated_share": table.exact.repeated_share(),
        "repeated_share_reference": reference.exact.repeated_share(),
        "nearly_repeated_share": table.coarse.repeated_share(),
    }
    if given.settings.count_copies:
        natural = twin_share(reference.exact)
        found = table.exact.share_in(reference.exact)
        detail |= {"in_reference_share": found, "natural_in_reference_share": natural}
        draws = min(given.settings.null_draws, _DRAWS)
        null = given.healthy(
            "copies of the reference",
            (table.rows,),
            lambda rng: (
                np.array([_copy_draw(reference.exact, table.rows, rng) for _ in range(draws)])
                + unseen(rng, draws, table.rows, reference.rows)
            ),
        )
        readings.append(calibrated("copies of the reference", found - natural, null, 1 - natural, family=3))
    return readings, detail


def twin_share(counts: HashCounts) -> float:
    """Return the share of rows that have a twin in the same table."""
    rows = int(counts.counts.sum())
    return float(counts.counts[counts.counts > 1].sum()) / rows if rows else 0.0


def excess(name: str, table: HashCounts, reference: HashCounts, given: Comparison) -> Reading | None:
    """Return repetition in `table` beyond what `reference` lets expect; None where nothing can be measured."""
    mine, theirs = _on_common_scale(table, reference)
    rows = int(mine.sum())
    natural = expected_repetition(theirs, rows)
    value = 1 - len(mine) / rows - natural if rows else 0.0
    draws = min(given.settings.null_draws, _DRAWS)
    null = given.healthy(
        name,
        (rows, int(theirs.sum())),
        lambda rng: (
            np.array([_repetition_draw(theirs, rows, rng) for _ in range(draws)])
            + unseen(rng, draws, rows, int(theirs.sum()))
        ),
    )
    return calibrated(name, value, null, 1 - natural, family=3)


def _on_common_scale(table: HashCounts, reference: HashCounts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return counts of both below the same hash: there both are complete."""
    limit = min(table.limit, reference.limit)
    return table.counts[table.hashes <= limit], reference.counts[reference.hashes <= limit]


def _repetition_draw(counts: NDArray[np.int64], rows: int, rng: np.random.Generator) -> float:
    """Split the reference at random; return the repetition of one part beyond what the other lets expect."""
    counts = _thinned(counts, rng)
    total = int(counts.sum())
    size = min(rows, total // 2)
    if size < 10:
        return 0.0
    mine = _split(counts, size, rng)
    seen = mine[mine > 0]
    rest = counts - mine
    return float(1 - len(seen) / size - expected_repetition(rest[rest > 0], size))


def _copy_draw(reference: HashCounts, rows: int, rng: np.random.Generator) -> float:
    """Split the reference at random; return the share of one part that stands in the other beyond what is natural."""
    counts = _thinned(reference.counts, rng)
    total = int(counts.sum())
    size = min(rows, total // 2)
    if size < 10:
        return 0.0
    mine = _split(counts, size, rng)
    rest = counts - mine
    found = mine[(mine > 0) & (rest > 0)].sum() / size
    return float(found - rest[rest > 1].sum() / max(rest.sum(), 1))


def _split(counts: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw `size` of the rows without replacement; return how many of each group."""
    if counts.max() == 1:
        picked = np.zeros(len(counts), np.int64)
        picked[rng.permutation(len(counts))[:size]] = 1
        return picked
    owner = np.repeat(np.arange(len(counts)), counts)
    return np.bincount(owner[rng.permutation(len(owner))[:size]], minlength=len(counts))


def _thinned(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a sample of the groups: draws of a large table need no more."""
    if len(counts) > 20_000:
        return counts[rng.integers(0, len(counts), 20_000)]
    return counts
