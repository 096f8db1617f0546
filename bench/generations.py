"""Tables made by models of tables made by models: kernel density, Gaussian mixture, Gaussian copula."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

Matrix = np.ndarray[Any, np.dtype[np.float64]]
KINDS = ("kde", "gmm", "copula")
_COMPONENTS = 10


class Numbers:
    """A frame as a matrix of floats and back; levels are codes, whole numbers are rounded, ranges kept."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self._levels = {
            name: pd.factorize(frame[name], sort=True)[1]
            for name in frame.columns
            if not pd.api.types.is_numeric_dtype(frame[name]) or pd.api.types.is_bool_dtype(frame[name])
        }

    def matrix(self) -> Matrix:
        """Return the values (n, columns); missing ones as the column's mean."""
        columns = []
        for name in self._frame.columns:
            if name in self._levels:
                columns.append(pd.factorize(self._frame[name], sort=True)[0].astype(float))
            else:
                values = self._frame[name].to_numpy(dtype=float, na_value=np.nan) / self._unit(name)
                known = values[~np.isnan(values)]
                columns.append(np.where(np.isnan(values), known.mean() if len(known) else 0.0, values))
        return np.stack(columns, axis=1)

    def frame(self, matrix: Matrix) -> pd.DataFrame:
        """Return the frame of a matrix."""
        out: dict[str, Any] = {}
        for place, name in enumerate(self._frame.columns):
            column, values = self._frame[name], matrix[:, place]
            if name in self._levels:
                levels = self._levels[name]
                out[name] = levels.take(np.clip(np.round(values), 0, len(levels) - 1).astype(int))
            elif pd.api.types.is_integer_dtype(column):
                out[name] = np.clip(np.round(values), column.min(), column.max()).astype(np.int64)
            else:
                out[name] = values * self._unit(name)
        return pd.DataFrame(out)

    def _unit(self, name: str) -> float:
        """Return what a column is counted in: squares of numbers beyond 1e150 are no numbers."""
        column = self._frame[name]
        return 1e200 if pd.api.types.is_float_dtype(column) and column.abs().max() > 1e150 else 1.0

    def snap(self, matrix: Matrix) -> Matrix:
        """Round what the frame rounds, so that the next model sees what a reader of the table would."""
        out = matrix.copy()
        for place, name in enumerate(self._frame.columns):
            column = self._frame[name]
            if name in self._levels:
                out[:, place] = np.clip(np.round(out[:, place]), 0, len(self._levels[name]) - 1)
            elif pd.api.types.is_integer_dtype(column):
                out[:, place] = np.clip(np.round(out[:, place]), column.min(), column.max())
        return out


def generations(frame: pd.DataFrame, kind: str, count: int, rng: np.random.Generator) -> Iterator[pd.DataFrame]:
    """Yield tables 1 to `count`: each is drawn from a model of the one before, the first from a model of `frame`."""
    numbers = Numbers(frame)
    matrix = numbers.matrix()
    draw = {"kde": _kde, "gmm": _gmm, "copula": _copula}[kind]
    for _ in range(count):
        matrix = draw(matrix, rng)
        made = numbers.frame(matrix)
        matrix = numbers.snap(matrix)
        yield made


def _kde(matrix: Matrix, rng: np.random.Generator) -> Matrix:
    """Draw from a Gaussian kernel density with Scott's bandwidth."""
    rows, columns = matrix.shape
    width = rows ** (-1 / (columns + 4)) * matrix.std(0)
    drawn: Matrix = matrix[rng.integers(0, rows, rows)] + rng.standard_normal((rows, columns)) * width
    return drawn


def _copula(matrix: Matrix, rng: np.random.Generator) -> Matrix:
    """Draw from a Gaussian copula with the table's own marginals."""
    from scipy.special import ndtr, ndtri
    from scipy.stats import rankdata

    rows, columns = matrix.shape
    scores = ndtri(np.apply_along_axis(rankdata, 0, matrix) / (rows + 1))
    spread = scores.std(0)
    scores = scores / np.where(spread > 0, spread, 1)
    correlation = scores.T @ scores / rows + 1e-6 * np.eye(columns)
    uniform = ndtr(rng.standard_normal((rows, columns)) @ np.linalg.cholesky(correlation).T)
    order = np.sort(matrix, axis=0)
    return np.stack([np.quantile(order[:, c], uniform[:, c], method="nearest") for c in range(columns)], axis=1)


def _gmm(matrix: Matrix, rng: np.random.Generator) -> Matrix:
    """Draw from a mixture of Gaussians with full covariances, fitted by expectation maximisation."""
    from scipy.cluster.vq import kmeans2

    mean, spread = matrix.mean(0), matrix.std(0)
    spread = np.where(spread > 0, spread, 1)
    x = (matrix - mean) / spread
    rows, columns = x.shape
    owner = kmeans2(x, _COMPONENTS, seed=int(rng.integers(1 << 31)), minit="++")[1]
    duty = np.eye(_COMPONENTS)[owner] + 1e-3
    duty /= duty.sum(1, keepdims=True)
    for _ in range(15):
        weight = duty.sum(0) + 1e-9
        centres = duty.T @ x / weight[:, None]
        logs = np.empty((rows, _COMPONENTS))
        lowers = []
        for k in range(_COMPONENTS):
            centred = x - centres[k]
            covariance = (centred * duty[:, k, None]).T @ centred / weight[k] + 1e-3 * np.eye(columns)
            lower = np.linalg.cholesky(covariance)
            lowers.append(lower)
            solved = np.linalg.solve(lower, centred.T)
            logs[:, k] = np.log(weight[k] / rows) - np.log(np.diag(lower)).sum() - 0.5 * np.square(solved).sum(0)
        logs -= logs.max(1, keepdims=True)
        duty = np.exp(logs)
        duty /= duty.sum(1, keepdims=True)
    chosen = rng.choice(_COMPONENTS, rows, p=weight / weight.sum())
    noise = rng.standard_normal((rows, columns))
    drawn = np.stack([centres[k] + lowers[k] @ noise[row] for row, k in enumerate(chosen)])
    return np.asarray(drawn * spread + mean)
