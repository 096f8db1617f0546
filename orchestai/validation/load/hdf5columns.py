"""How an HDF5 dataset becomes columns: a vector is one, a matrix one for each of its columns, a compound its fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from orchestai.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


class Part(NamedTuple):
    """One column of a dataset.

    Attributes:
        name: The column's name, the dataset's path with dots.
        field: Field of a compound type, if it is one.
        place: Column of a matrix, if it is one.
        kind: Its Arrow type.
        text: Its values are texts.
    """

    name: str
    field: str | None
    place: int | None
    kind: pa.DataType
    text: bool


def parts_of(path: str, dataset: Any) -> list[Part]:
    """Return the columns of a dataset.

    Raises:
        DataError: A type that has no place in a table.
    """
    name = path.strip("/").replace("/", ".")
    if dataset.dtype.names:
        if len(dataset.shape) != 1:
            raise DataError(f"{path} is a matrix of records.", remedy="Store records in one dimension.")
        parts: list[Part] = []
        for field in dataset.dtype.names:
            kind = dataset.dtype[field]
            if kind.shape:
                width = kind.shape[0] if len(kind.shape) == 1 else 0
                if not width or kind.base.hasobject:
                    raise DataError(f"{path}: the field {field!r} has the type {kind}.", remedy="Store plain columns.")
                parts.extend(_part(f"{field}.{place}", field, place, kind.base, path) for place in range(width))
            else:
                parts.append(_part(field, field, None, kind, path))
        return parts
    if len(dataset.shape) == 1:
        return [_part(name, None, None, dataset.dtype, path)]
    return [_part(f"{name}.{place}", None, place, dataset.dtype, path) for place in range(dataset.shape[1])]


def _part(name: str, field: str | None, place: int | None, kind: Any, path: str) -> Part:
    import h5py
    import pyarrow as pa

    if h5py.check_string_dtype(kind) is not None or kind.kind == "S":
        return Part(name, field, place, pa.string(), True)
    options = h5py.check_enum_dtype(kind)
    if options is not None and set(options.values()) <= {0, 1}:
        return Part(name, field, place, pa.bool_(), False)
    if kind.kind == "b":
        return Part(name, field, place, pa.bool_(), False)
    if kind.kind in "iuf" and kind.itemsize <= 8:
        return Part(name, field, place, pa.from_numpy_dtype(kind.newbyteorder("=")), False)
    raise DataError(f"{path}: values of the type {kind} have no place in a table.", remedy="Store numbers or texts.")


def read_part(block: Any, part: Part) -> pa.Array:
    """Turn a block of rows into one column of them."""
    import numpy as np
    import pyarrow as pa

    values = block[part.field] if part.field is not None else block
    if part.place is not None:
        values = values[:, part.place]
    if part.text:
        return pa.array([_text(value) for value in values.tolist()], type=pa.string())
    values = np.ascontiguousarray(values)
    return pa.array(values.astype(values.dtype.newbyteorder("="), copy=False)).cast(part.kind)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
