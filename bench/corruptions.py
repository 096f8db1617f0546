"""Ways to spoil a table by degrees: what a gate must notice, the more the worse it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

LEVELS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
MODES = 10

Corruption = Callable[[pd.DataFrame, float, np.random.Generator], pd.DataFrame]


def numeric_columns(frame: pd.DataFrame, label: str | None) -> list[str]:
    """Return the names of numbers with more than ten values and a finite spread, without the label."""

    def spreads(column: pd.Series[Any]) -> bool:
        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.isfinite(column.astype(float).std()))

    return [
        name
        for name in frame.columns
        if name != label
        and pd.api.types.is_numeric_dtype(frame[name])
        and frame[name].nunique() > 10
        and spreads(frame[name])
    ]


def duplicates(frame: pd.DataFrame, level: float, rng: np.random.Generator) -> pd.DataFrame:
    """Replace rows by copies of other rows of the table."""
    rows = np.arange(len(frame))
    victims = rng.permutation(rows)[: round(level * len(rows))]
    rest = np.setdiff1d(rows, victims)
    rows[victims] = rng.choice(rest, len(victims))
    return frame.iloc[rows].reset_index(drop=True)


def copies_of(reference: pd.DataFrame) -> Corruption:
    """Return what replaces rows by rows of the reference."""

    def apply(frame: pd.DataFrame, level: float, rng: np.random.Generator) -> pd.DataFrame:
        victims = rng.permutation(len(frame))[: round(level * len(frame))]
        kept = frame.drop(index=list(victims))
        taken = reference.iloc[rng.choice(len(reference), len(victims), replace=len(victims) > len(reference))]
        return pd.concat([kept, taken]).sample(frac=1, random_state=int(rng.integers(1 << 31))).reset_index(drop=True)

    return apply


def label_flips(label: str) -> Corruption:
    """Return what gives rows the label of another class; a number gets the value of a row of another quarter."""

    def apply(frame: pd.DataFrame, level: float, rng: np.random.Generator) -> pd.DataFrame:
        out = frame.copy()
        values = out[label].to_numpy(dtype=object).copy()
        if pd.api.types.is_numeric_dtype(out[label]) and out[label].nunique() > 20:
            group = pd.qcut(out[label].rank(method="first"), 4, labels=False).to_numpy()
        else:
            group = pd.factorize(out[label])[0]
        victims = rng.permutation(len(out))[: round(level * len(out))]
        pools = {g: values[group != g] for g in np.unique(group)}
        distinct: dict[Any, Any] = {g: pd.unique(pool) for g, pool in pools.items()}
        for row in victims:
            values[row] = rng.choice(distinct[group[row]])
        out[label] = pd.Series(values, index=out.index).infer_objects()
        return out

    return apply


def junk(frame: pd.DataFrame, level: float, rng: np.random.Generator) -> pd.DataFrame:
    """Replace rows by noise: numbers evenly over the column's range, levels evenly among those that occur."""
    out = frame.copy()
    victims = rng.permutation(len(out))[: round(level * len(out))]
    for name in out.columns:
        column = out[name]
        values = column.to_numpy().copy()
        known = np.asarray(pd.unique(column.dropna()))
        if not len(known):
            continue
        numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        if numeric and len(known) > 10 and np.isfinite(float(column.max()) - float(column.min())):
            drawn = rng.uniform(float(column.min()), float(column.max()), len(victims))
            values[victims] = np.round(drawn) if pd.api.types.is_integer_dtype(column) else drawn
        else:
            values[victims] = rng.choice(known, len(victims))
        out[name] = values
    return out


def shift(label: str | None) -> Corruption:
    """Return what moves half of the numeric columns by twice the level, in standard deviations."""

    def apply(frame: pd.DataFrame, level: float, rng: np.random.Generator) -> pd.DataFrame:
        del rng
        out = frame.copy()
        for name in numeric_columns(frame, label)[::2]:
            out[name] = out[name].astype(float) + 2 * level * float(out[name].std())
        return out

    return apply


def mode_drop(label: str | None) -> Corruption:
    """Return what drops whole modes: k-means cells of the scaled numbers, a share `level` of ten."""

    def apply(frame: pd.DataFrame, level: float, rng: np.random.Generator) -> pd.DataFrame:
        del rng  # the same modes go at every level, one after the other
        modes = modes_of(frame, label)
        order = np.random.default_rng(5).permutation(MODES)
        return frame[~np.isin(modes, order[: round(level * MODES)])].reset_index(drop=True)

    return apply


def modes_of(frame: pd.DataFrame, label: str | None) -> np.ndarray[Any, Any]:
    """Return the mode of each row (n,)."""
    from scipy.cluster.vq import kmeans2

    table = ranks_of(frame[numeric_columns(frame, label) or list(frame.columns)])
    return np.asarray(kmeans2(table, MODES, seed=3, minit="++")[1])


def ranks_of(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Return normal scores of every column (n, columns); missing values in the middle."""
    from scipy.special import ndtri

    ranks = frame.apply(lambda c: c if pd.api.types.is_numeric_dtype(c) else pd.Series(pd.factorize(c)[0], c.index))
    shares = ranks.rank(pct=True).fillna(0.5).to_numpy() - 0.5 / len(frame)
    return np.asarray(ndtri(shares.clip(1e-3, 1 - 1e-3)))


def spectral(label: str | None) -> Corruption:
    """Return what removes the weakest directions: a share `level` of the principal axes of the scaled numbers."""

    def apply(frame: pd.DataFrame, level: float, rng: np.random.Generator) -> pd.DataFrame:
        del rng
        out = frame.copy()
        names = numeric_columns(frame, label)
        scaled, mean, spread = _scaled(frame, names)
        _, strength, axes = np.linalg.svd(scaled, full_matrices=False)
        count = _rank(strength)
        keep = max(1, count - round(level * count))
        if keep < count:
            out[names] = scaled @ axes[:keep].T @ axes[:keep] * spread + mean
        return out

    return apply


def axes_of(frame: pd.DataFrame, label: str | None) -> int:
    """Return the number of directions in which the numbers vary; 0 without numbers."""
    names = numeric_columns(frame, label)
    return _rank(np.linalg.svd(_scaled(frame, names)[0], compute_uv=False)) if names else 0


def _scaled(frame: pd.DataFrame, names: list[str]) -> tuple[np.ndarray[Any, Any], ...]:
    """Return scaled columns, missing values in the middle (n, k), their means and spreads (k,)."""
    table = frame[names].astype(float)
    filled = table.fillna(table.mean())
    mean, spread = filled.mean().to_numpy(), filled.std().replace(0, 1).to_numpy()
    return (filled.to_numpy() - mean) / spread, mean, spread


def _rank(strength: np.ndarray[Any, Any]) -> int:
    return int((strength > 1e-9 * strength.max(initial=0.0)).sum())
