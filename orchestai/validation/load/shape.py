"""The type of values that came without one (JSON, cells): a lattice in which any two types have a common wider one."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import TYPE_CHECKING, Any

from orchestai.errors import DataError
from orchestai.validation.load.limits import Limits

if TYPE_CHECKING:
    import pyarrow as pa

_LOW, _HIGH, _HIGHEST = -(2**63), 2**63 - 1, 2**64 - 1


class Shape:
    """What has been seen at one place: kinds of scalars, fields, items.

    Args:
        limits: How deep and how wide values may be.
        path: Where it stands, for notes.
        depth: How deep it stands.
    """

    def __init__(self, limits: Limits, path: str = "", depth: int = 0) -> None:
        self.limits = limits
        self.path = path
        self.depth = depth
        self.kinds: set[str] = set()
        self.fields: dict[str, Shape] = {}
        self.item: Shape | None = None
        self.low, self.high = 0, 0

    def add(self, value: Any) -> None:
        """Take in one value.

        Raises:
            DataError: It is nested too deeply, or has too many different fields.
        """
        if value is None:
            return
        if self.depth > self.limits.max_depth:
            raise DataError(
                f"Values are nested more than {self.limits.max_depth} levels deep.",
                remedy="Flatten the data, or raise `max_depth`.",
            )
        if isinstance(value, dict):
            self.kinds.add("struct")
            for name, inner in value.items():
                self._field(name).add(inner)
        elif isinstance(value, list):
            self.kinds.add("list")
            if self.item is None:
                self.item = Shape(self.limits, f"{self.path}[]", self.depth + 1)
            for inner in value:
                self.item.add(inner)
        else:
            kind = _KINDS[type(value)]
            self.kinds.add(kind)
            if kind == "int":
                self.low, self.high = min(self.low, value), max(self.high, value)

    def _field(self, name: str) -> Shape:
        found = self.fields.get(name)
        if found is None:
            self.limits.check_shape(0, len(self.fields) + 1, f"The object at {self.path or 'the top'}")
            path = f"{self.path}.{name}" if self.path else name
            found = self.fields[name] = Shape(self.limits, path, self.depth + 1)
        return found

    def to_arrow(self, notes: list[str]) -> pa.DataType:
        """Return the Arrow type that holds every value seen; kinds that don't mix become text, with a note."""
        import pyarrow as pa

        kinds = self.kinds
        if not kinds:
            return pa.null()
        if kinds == {"struct"}:
            if not self.fields:
                return pa.string()
            return pa.struct([pa.field(name, inner.to_arrow(notes)) for name, inner in self.fields.items()])
        if kinds == {"list"}:
            return pa.list_(self.item.to_arrow(notes) if self.item else pa.null())
        if kinds == {"int"}:
            return self._integer(notes)
        simple = {"float": pa.float64(), "bool": pa.bool_(), "datetime": pa.timestamp("us"), "text": pa.string()}
        if len(kinds) == 1:
            return simple[next(iter(kinds))]
        if kinds == {"int", "float"}:
            return pa.float64()
        notes.append(f"column {self.path!r} mixes {', '.join(sorted(kinds))}: kept as text")
        return pa.string()

    def _integer(self, notes: list[str]) -> pa.DataType:
        import pyarrow as pa

        if self.low >= _LOW and self.high <= _HIGH:
            return pa.int64()
        if self.low >= 0 and self.high <= _HIGHEST:
            return pa.uint64()
        notes.append(f"column {self.path!r}: integers beyond 64 bits are kept as text, digit by digit")
        return pa.string()


_KINDS = {bool: "bool", int: "int", float: "float", str: "text", dt.datetime: "datetime"}


def convert(value: Any, kind: pa.DataType) -> Any:
    """Return `value` as Arrow's `kind` takes it: anything under a text type becomes text, JSON for what is nested."""
    import pyarrow.types as kinds

    if value is None or kinds.is_null(kind):
        return None
    if kinds.is_struct(kind):
        return {field.name: convert(value.get(field.name), field.type) for field in kind}
    if kinds.is_list(kind):
        return [convert(inner, kind.value_type) for inner in value]
    if kinds.is_string(kind) and not isinstance(value, str):
        return str(value) if isinstance(value, dt.datetime) else json.dumps(value, ensure_ascii=False)
    if kinds.is_floating(kind) and isinstance(value, int):
        try:
            return float(value)
        except OverflowError:
            return math.copysign(math.inf, value)
    return value


def to_batch(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Make a batch of records.

    Raises:
        DataError: A value does not fit the type that the caller declared.
    """
    import pyarrow as pa

    arrays = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        try:
            try:
                arrays.append(pa.array(values, type=field.type))
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
                arrays.append(pa.array([convert(value, field.type) for value in values], type=field.type))
        except (pa.ArrowException, OverflowError, AttributeError, TypeError) as error:
            raise DataError(
                f"Column {field.name!r} does not fit the type {field.type}: {error}",
                remedy="Declare another type in `types`, or none.",
            ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema) if arrays else pa.record_batch({})
