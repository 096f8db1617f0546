"""Types for columns of text: the narrowest one that every value fits, decided block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def candidates() -> tuple[pa.DataType, ...]:
    """Return the types that text may turn into, in the order in which they are tried."""
    import pyarrow as pa

    return (
        pa.int64(),
        pa.float64(),
        pa.bool_(),
        pa.date32(),
        pa.timestamp("us"),
        pa.timestamp("us", tz="UTC"),
    )


def to_type(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Turn text into `kind`, blanks around numbers and dates left aside.

    Raises:
        pyarrow.ArrowInvalid: A value does not fit.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    if kinds.is_string(kind) or kinds.is_large_string(kind):
        return values.cast(kind)
    if kinds.is_boolean(kind):
        lower = pc.utf8_lower(pc.utf8_trim_whitespace(values))
        if not pc.all(pc.is_in(lower.drop_null(), pa.array(["true", "false"]))).as_py() and len(lower.drop_null()):
            raise pa.ArrowInvalid("not a truth value")
        return lower.cast(kind)
    try:
        return values.cast(kind)
    except pa.ArrowInvalid:
        return pc.utf8_trim_whitespace(values).cast(kind)


class ColumnType:
    """The type of one column, as far as it has been seen.

    Args:
        name: The column's name.
        wanted: The type the caller declared; nothing is guessed then.
    """

    def __init__(self, name: str, wanted: pa.DataType | None = None) -> None:
        self.name = name
        self.kind: pa.DataType | None = wanted
        self.declared = wanted is not None
        self.notes: list[str] = []
        self._overflow = False
        self._padded = False

    def add(self, values: pa.Array) -> None:
        """Take in the next block of text; the type widens when a value does not fit."""
        import pyarrow as pa

        if self.declared or self.kind == pa.string():
            return
        values = values.drop_null()
        if not len(values):
            return
        if self.kind is None:
            self.kind = next((kind for kind in candidates() if self._fits(values, kind)), pa.string())
            if self.kind == pa.string():
                self._explain(values, "numbers")
            return
        for kind in (self.kind, *_wider(self.kind)):
            if self._fits(values, kind):
                self.kind = kind
                return
        self._explain(values, str(self.kind))
        self.kind = pa.string()

    def result(self) -> pa.DataType:
        """Return the type; text for a column without any value."""
        import pyarrow as pa

        return self.kind if self.kind is not None else pa.string()

    def _fits(self, values: pa.Array, kind: pa.DataType) -> bool:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.types as kinds

        try:
            cast = to_type(values, kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return False
        if kinds.is_integer(kind) or kinds.is_floating(kind):
            # 007 and 0x10 are names, not numbers: turned into 7 and 16 they would not come back.
            zeros = (
                values.filter(pc.match_substring_regex(values, "^[+-]?0[0-9xX]")) if _any_zero(values) else values[:0]
            )
            if len(zeros):
                self._padded = True
                return False
        if kinds.is_floating(kind) and not self._overflow:
            infinite = values.filter(pc.is_inf(cast)).slice(0, 1000)
            large = [text for text in infinite.to_pylist() if "inf" not in text.lower()]
            if large:
                self._overflow = True
                self.notes.append(
                    f"column {self.name!r}: numbers beyond 1.8e308 became infinite, e.g. {large[0][:40]!r}"
                )
        return True

    def _explain(self, values: pa.Array, before: str) -> None:
        """Note why a column that holds numbers, or another type `before`, stays text."""
        numbers, other = 0, None
        for text in values.slice(0, 20_000).to_pylist():
            if _is_number(text):
                numbers += 1
            elif other is None:
                other = text
        if self._padded and other is None:
            self.notes.append(f"column {self.name!r}: numbers with leading zeros are kept as text")
        elif other is not None and (numbers or before != "numbers"):
            self.notes.append(f"column {self.name!r} mixes {before} with text, e.g. {other[:40]!r}: kept as text")


def _any_zero(values: pa.Array) -> bool:
    import pyarrow.compute as pc

    return any(pc.any(pc.starts_with(values, start)).as_py() for start in ("0", "-0", "+0"))


def _wider(kind: pa.DataType) -> tuple[Any, ...]:
    import pyarrow as pa

    if kind == pa.int64():
        return (pa.float64(),)
    if kind == pa.date32():
        return (pa.timestamp("us"),)
    return ()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
