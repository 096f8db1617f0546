"""Tables for benchmarks: any CSV (also compressed or zipped) or Parquet as a pandas frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from orchestai.errors import DataError

_COMPRESSED: dict[str, Any] = {".gz": "gzip", ".zip": "zip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}


def read_frame(path: Path) -> pd.DataFrame:
    """Read a table; a CSV without a header line gets the names c0, c1, ...

    Raises:
        DataError: It is missing or cannot be read.
    """
    try:
        if path.suffix in (".parquet", ".pq"):
            return pd.read_parquet(path)
        compression = _COMPRESSED.get(path.suffix)
        frame = pd.read_csv(path, compression=compression, skipinitialspace=True)
        if _is_headerless(frame):
            frame = _without_header(path, compression)
            frame.columns = [f"c{place}" for place in range(frame.shape[1])]
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path}: {error}") from error
    return frame


def _without_header(path: Path, compression: Any) -> pd.DataFrame:
    """Read a table that begins with data, or with one line of counts as those of scikit-learn do."""
    try:
        return pd.read_csv(path, compression=compression, skipinitialspace=True, header=None)
    except pd.errors.ParserError:
        return pd.read_csv(path, compression=compression, skipinitialspace=True, header=None, skiprows=1)


def _is_headerless(frame: pd.DataFrame) -> bool:
    """Say whether the header holds numbers: then it is the first row."""
    names = [str(name).split(".")[0].strip() for name in frame.columns]
    return sum(name.lstrip("-").isdigit() for name in names) > 0


def label_of(frame: pd.DataFrame, label: str | None, path: Path) -> str | None:
    """Return the label to use: the one given, by name or as `last`.

    Raises:
        DataError: There is no such column.
    """
    if label is None:
        return None
    if label == "last":
        return str(frame.columns[-1])
    if label not in frame.columns:
        raise DataError(f"{path} has no column {label!r}.", remedy=f"Columns: {', '.join(map(str, frame.columns))}.")
    return label
