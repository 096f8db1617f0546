"""What the cascade learns to predict: the label given, a label guessed, or the column the others explain best."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestai.errors import DataError
from orchestai.validation.columns import BINS, NULL, OTHER, Column
from orchestai.validation.encode import Encoder
from orchestai.validation.states.table import SampleRows

_LABEL = re.compile(r"^(label|labels|target|class|y|category|outcome|is_.*|.*_label|.*_class)$", re.IGNORECASE)
_NUMBER_CLASSES = 8
MAX_CLASSES = 40


class Target(NamedTuple):
    """Which column is predicted, and the class of each of its codes."""

    column: Column
    place: int
    kind: Literal["given", "guessed", "self-supervised"]
    classes: int
    class_of_code: NDArray[np.int64]  # (CODES,) -1 for missing
    masked: NDArray[np.bool_]  # (features,) features that hold the target itself

    def classes_of(self, codes: NDArray[np.int16]) -> NDArray[np.int64]:
        """Return the class of each row (n,), -1 where it has none."""
        return np.asarray(self.class_of_code[codes[:, self.place]])

    def inputs(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the features without the target (n, features)."""
        return np.where(self.masked, np.float32(0), features) if self.masked.any() else features


def guess_label(names: list[str], columns: list[Column]) -> str | None:
    """Return the column that looks like a label by its name and by having few values, or None."""
    by_name = {column.name: column for column in columns if column.kind == "category"}
    for name in reversed(names):
        if name in by_name and _LABEL.match(name) and 2 <= (by_name[name].shares > 0).sum() <= 20:
            return name
    return None


def choose_target(
    encoder: Encoder, sample: SampleRows, kind: Literal["given", "guessed", "self-supervised"]
) -> Target | None:
    """Return what is predicted; None where no column can be.

    Raises:
        DataError: The label given is not a usable column.
    """
    if encoder.label is not None:
        place = encoder.label_place
        if place is None:
            column = next((c for c in encoder.columns if c.name == encoder.label), None)
            found = f"is {column.kind}" if column is not None else "does not exist"
            raise DataError(f"The label {encoder.label!r} {found}.", remedy="Name a column with at least two values.")
    else:
        place = _best_explained(encoder, sample)
        if place is None:
            return None
    column = encoder.used[place]
    counts = np.bincount(sample.codes[:, place], minlength=NULL + 1)
    table = np.full(NULL + 1, -1, np.int64)
    if column.kind == "number":
        order = np.cumsum(counts[:BINS]) - counts[:BINS] / 2
        table[:BINS] = np.minimum(order / max(counts[:BINS].sum(), 1) * _NUMBER_CLASSES, _NUMBER_CLASSES - 1)
        _, table[:BINS] = np.unique(table[:BINS], return_inverse=True)
    else:
        levels = np.flatnonzero(counts[: OTHER + 1] > 0)
        table[levels] = np.arange(len(levels))
    classes = int(table.max()) + 1
    if classes < 2:
        return None
    masked = encoder.feature_columns == (place if encoder.label is None else -1)
    return Target(column, place, kind, classes, table, masked)


def _best_explained(encoder: Encoder, sample: SampleRows) -> int | None:
    """Return the column whose features a linear model of the others explains best, but not wholly.

    The share unexplained is one over the diagonal of the inverse correlation matrix, averaged over a column.
    """
    x = sample.features[:2000].astype(np.float64)
    rows, width = x.shape
    if not width or rows < 20:
        return None
    x = (x - x.mean(0)) / (x.std(0) + 1e-9)
    owners = encoder.feature_columns
    best, chosen = -1.0, None
    gram = x.T @ x / rows + 0.02 * np.eye(width)
    for place in np.unique(owners):
        column = encoder.used[place]
        if column.kind == "text":
            continue
        mine = owners == place
        if mine.all():
            continue
        solved = np.linalg.solve(gram[np.ix_(~mine, ~mine)], gram[np.ix_(~mine, mine)])
        explained = float((gram[np.ix_(~mine, mine)] * solved).sum() / mine.sum())
        value = explained if explained < 0.97 else 0.0  # a copy of another column teaches nothing
        if value > best:
            best, chosen = value, int(place)
    return chosen
