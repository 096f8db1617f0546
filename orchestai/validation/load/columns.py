"""The table's final columns: nested ones flattened to dotted names, and every name different."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from orchestai.errors import DataError
from orchestai.validation.load.limits import Limits

if TYPE_CHECKING:
    import pyarrow as pa

_IMAGE = re.compile(r"\.(png|jpe?g|gif|bmp|webp|tiff?)$", re.IGNORECASE)


def final_schema(schema: pa.Schema, flatten: bool, limits: Limits, notes: list[str]) -> pa.Schema:
    """Return the schema of what is handed out.

    Args:
        schema: The file's own.
        flatten: Whether `{"a": {"b": 1}}` becomes a column `a.b`; lists stay lists either way.
        limits: How many columns, how deep.
        notes: Takes what was renamed and flattened.

    Raises:
        DataError: Too many columns, or nested too deeply.
    """
    import pyarrow as pa

    fields = [leaf for field in schema for leaf in _leaves(field, flatten, limits, 0)]
    limits.check_shape(0, len(fields), "The table, flattened,")
    if flatten and any(pa.types.is_struct(field.type) for field in schema):
        notes.append("nested columns are flattened to dotted names (a.b); lists are kept")
    names = unique_names([field.name for field in fields])
    renamed = sum(name != field.name for name, field in zip(names, fields, strict=True))
    if renamed:
        example = next((field.name, name) for name, field in zip(names, fields, strict=True) if name != field.name)
        notes.append(
            f"{renamed} columns have the name of another and are renamed, e.g. {example[0]!r} to {example[1]!r}"
        )
    return pa.schema([pa.field(name, field.type) for name, field in zip(names, fields, strict=True)])


def unique_names(names: list[str]) -> list[str]:
    """Return the names, with `__2`, `__3`, ... behind those that occurred before.

    >>> unique_names(["a", "a", "a__2"])
    ['a', 'a__3', 'a__2']
    """
    taken, result = set(names), []
    seen: set[str] = set()
    count: dict[str, int] = {}
    for name in names:
        new = name
        if name in seen:
            number = count.get(name, 2)
            while f"{name}__{number}" in taken:
                number += 1
            count[name] = number + 1
            new = f"{name}__{number}"
            taken.add(new)
        seen.add(new)
        result.append(new)
    return result


def _leaves(field: pa.Field, flatten: bool, limits: Limits, depth: int) -> list[pa.Field]:
    import pyarrow as pa

    if depth > limits.max_depth:
        raise DataError(
            f"Column {field.name.split('.')[0]!r} is nested more than {limits.max_depth} levels deep.",
            remedy="Flatten the data, or raise `max_depth`.",
        )
    kind = field.type
    if pa.types.is_struct(kind):
        inner = [leaf.with_name(f"{field.name}.{leaf.name}") for leaf in kind]
        found = [leaf for part in inner for leaf in _leaves(part, flatten, limits, depth + 1)]
        return found if flatten and found else [field]
    if pa.types.is_nested(kind):
        for place in range(kind.num_fields):
            _leaves(kind.field(place), False, limits, depth + 1)
    return [field]


def final_batch(batch: pa.RecordBatch, schema: pa.Schema, flatten: bool) -> pa.RecordBatch:
    """Return `batch` with the columns of `final_schema`."""
    import pyarrow as pa

    arrays = [leaf for array in batch.columns for leaf in (_leaf_arrays(array) if flatten else [array])]
    made = []
    for array, field in zip(arrays, schema, strict=True):
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        made.append(array if array.type == field.type else array.cast(field.type))
    if not made:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * batch.num_rows, type=pa.struct([])))
    return pa.RecordBatch.from_arrays(made, schema=schema)


def _leaf_arrays(array: Any) -> list[Any]:
    import pyarrow as pa

    if not pa.types.is_struct(array.type) or not array.type.num_fields:
        return [array]
    return [leaf for part in array.flatten() for leaf in _leaf_arrays(part)]


def image_columns(batch: pa.RecordBatch) -> list[str]:
    """Return the text columns of which every value is a path of an image."""
    import pyarrow as pa

    found = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if not pa.types.is_string(field.type):
            continue
        values = column.slice(0, 100).drop_null().to_pylist()
        if values and all(_IMAGE.search(value) for value in values):
            found.append(field.name)
    return found
