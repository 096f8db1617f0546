"""Tables for benchmarks: any CSV (also compressed or zipped) or Parquet as a pandas frame."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from orchestai.errors import DataError

_COMPRESSED: dict[str, Any] = {".gz": "gzip", ".zip": "zip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}
_PARQUET = (".parquet", ".pq")
_CELLS_AT_ONCE = 10_000_000
_PEEK = 2_000
_WIDEST = 300


class Sampled(NamedTuple):
    """A random part of a table, and how large the table is."""

    frame: pd.DataFrame
    rows: int


def read_frame(path: Path) -> pd.DataFrame:
    """Read a table; a CSV without a header line gets the names c0, c1, ...

    Raises:
        DataError: It is missing or cannot be read.
    """
    try:
        if path.suffix in _PARQUET:
            return pd.read_parquet(path)
        frame: pd.DataFrame = pd.read_csv(path, low_memory=False, **_csv(path))
        return _named(frame)
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path}: {error}") from error


def read_sample(path: Path, rows: int, rng: np.random.Generator) -> Sampled:
    """Read a random part of a table of any size, at most `rows` rows, chunk by chunk, in random order.

    Raises:
        DataError: It is missing, cannot be read, or has no rows.
    """
    try:
        total, kept = 0, pd.DataFrame()
        tickets = np.empty(0)
        for chunk in _chunks(path):
            drawn = rng.random(len(chunk))
            total += len(chunk)
            # The rows with the smallest tickets are a uniform sample, however the file is cut.
            mine = np.argsort(drawn)[:rows]
            kept = pd.concat([kept, chunk.iloc[mine]], ignore_index=True) if total > len(chunk) else chunk.iloc[mine]
            tickets = np.concatenate([tickets, drawn[mine]])
            best = np.argsort(tickets)[:rows]
            kept, tickets = kept.iloc[best].reset_index(drop=True), tickets[best]
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"Cannot read {path}: {error}") from error
    if not len(kept) or not kept.shape[1]:
        raise DataError(f"{path} has no rows.", remedy="Give a table with rows.")
    return Sampled(_named(kept) if kept.columns.equals(pd.RangeIndex(kept.shape[1])) else kept, total)


def usable(frame: pd.DataFrame, label: str | None) -> tuple[pd.DataFrame, list[str]]:
    """Return the frame as the ways of spoiling need it, and what was changed: sentences for the report.

    Columns without a value and, beyond 300, a part of the columns are left out; nested and mixed values become texts.
    """
    notes = []
    frame = frame.loc[:, ~frame.columns.duplicated()].copy()
    frame.columns = frame.columns.map(str)
    empty = [name for name in frame.columns if frame[name].isna().all() and name != label]
    if empty:
        frame = frame.drop(columns=empty)
        notes.append(f"{len(empty)} columns without a value are left out.")
    if frame.shape[1] > _WIDEST:
        places = np.unique(np.linspace(0, frame.shape[1] - 1, _WIDEST).astype(int))
        kept = [name for place, name in enumerate(frame.columns) if place in set(places.tolist()) or name == label]
        notes.append(f"{len(kept)} of {frame.shape[1]} columns are used, evenly spread.")
        frame = frame[kept]
    texts = []
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_extension_array_dtype(column.dtype) and pd.api.types.is_numeric_dtype(column):
            whole = pd.api.types.is_integer_dtype(column) and not column.isna().any()
            frame[name] = column.astype("int64" if whole else "float64")
        elif _mixed(column) or _nested(column):
            frame[name] = column.map(str, na_action="ignore")
            texts.append(name)
        elif isinstance(column.dtype, pd.CategoricalDtype):
            frame[name] = column.astype(object)
        elif pd.api.types.is_float_dtype(column) and np.isinf(column).any():
            frame[name] = column.replace([np.inf, -np.inf], np.nan)
            notes.append(f"Infinite values of {name} are taken as missing.")
    if texts:
        notes.append(f"{len(texts)} columns of mixed or nested values are taken as texts.")
    return frame, notes


def label_of(frame: pd.DataFrame, label: str | None, path: Path) -> str | None:
    """Return the label to use: the one given, by name or as `last`.

    Raises:
        DataError: There is no such column.
    """
    if label is None:
        return None
    if label in frame.columns:
        return label
    if label == "last":
        return str(frame.columns[-1])
    names = ", ".join(map(str, frame.columns[:50]))
    raise DataError(f"{path} has no column {label!r}.", remedy=f"Columns: {names}.")


def _csv(path: Path) -> dict[str, Any]:
    """Return how to read a CSV: compression, separator, and whether its first line names the columns."""
    how: dict[str, Any] = {"compression": _COMPRESSED.get(path.suffix), "skipinitialspace": True}
    peek: pd.DataFrame = pd.read_csv(path, nrows=_PEEK, **how)
    if peek.shape[1] == 1:
        for separator in (";", "\t", "|"):
            if separator in str(peek.columns[0]):
                how["sep"] = separator
                peek = pd.read_csv(path, nrows=_PEEK, **how)
                break
    if _is_headerless(peek):
        how["header"] = None
        try:
            pd.read_csv(path, nrows=_PEEK, **how)
        except pd.errors.ParserError:  # one line of counts, as the tables of scikit-learn have
            how["skiprows"] = 1
    return how


def _chunks(path: Path) -> Any:
    if path.suffix in _PARQUET:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_rows_at_once(len(file.schema_arrow.names))):
                yield batch.to_pandas()
        return
    how = _csv(path)
    columns = pd.read_csv(path, nrows=1, **how).shape[1]
    with pd.read_csv(path, chunksize=_rows_at_once(columns), low_memory=False, **how) as reader:
        yield from reader


def _rows_at_once(columns: int) -> int:
    return max(1_000, _CELLS_AT_ONCE // max(columns, 1))


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """Name the columns of a table without a header."""
    if frame.columns.equals(pd.RangeIndex(frame.shape[1])):
        frame.columns = pd.Index([f"c{place}" for place in range(frame.shape[1])])
    return frame


def _is_headerless(frame: pd.DataFrame) -> bool:
    """Say whether the line taken for a header is the first row.

    A row of data has numbers, and its texts occur again below. Names that are numbers are years or places: whole,
    different and rising.
    """
    names = [str(name).strip() for name in frame.columns]
    numbers = [value for name in names if (value := _number(name)) is not None]
    if not numbers:
        return False
    others = [(place, name) for place, name in enumerate(names) if _number(name) is None]
    rising = len(numbers) > 1 and all(b > a for a, b in itertools.pairwise(numbers))
    whole = all(value == int(value) for value in numbers)
    if rising and whole and "" not in names:
        again = sum(name in set(frame.iloc[:, place].astype(str)) for place, name in others)
        return bool(others) and again > len(others) / 2
    return True


def _number(name: str) -> float | None:
    """Return a header's text as a number; pandas writes `0.1` for the second column named `0`."""
    try:
        value = float(name)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _mixed(column: pd.Series[Any]) -> bool:
    return column.dtype == object and column.dropna().map(type).nunique() > 1


def _nested(column: pd.Series[Any]) -> bool:
    first = next((value for value in column if value is not None), None)
    return isinstance(first, list | dict | set | np.ndarray | tuple)
