"""What the first pass over a file finds out: schema, rows, notes and the lines that were left out."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestai.validation.load.limits import Limits

if TYPE_CHECKING:
    import pyarrow as pa


class Rejected(NamedTuple):
    """A line that was left out; the rest of the file is loaded.

    Attributes:
        line: Where it starts in the file, from 1; of an Excel sheet the row's number.
        column: Number of the field or, in JSON, of the character at fault, from 1.
        reason: What is wrong with it.
    """

    line: int
    column: int
    reason: str


@dataclass
class Scan:
    """Result of the first pass.

    Attributes:
        schema: Names and types as the file has them: nested, perhaps with names that occur twice.
        rows: How many rows the second pass gives.
        notes: What a reader of the data should know.
        rejected: The first lines that were left out.
        rejected_rows: How many were left out.
        detail: What the second pass of this format needs to know; plain JSON.
    """

    schema: pa.Schema | None = None
    rows: int = 0
    notes: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    rejected_rows: int = 0
    detail: dict[str, Any] = field(default_factory=dict)

    def reject(self, line: int, column: int, reason: str, limits: Limits) -> None:
        """Count a line that is left out, and list it while the list is short."""
        self.rejected_rows += 1
        if len(self.rejected) < limits.max_rejected:
            self.rejected.append(Rejected(line, column, reason))

    def note(self, text: str) -> None:
        """Add a note once."""
        if text not in self.notes:
            self.notes.append(text)

    def to_json(self) -> dict[str, Any]:
        """Return it in plain JSON, the schema as base64 of its Arrow form."""
        return {
            "schema": base64.b64encode(self.schema.serialize().to_pybytes()).decode() if self.schema else None,
            "rows": self.rows,
            "notes": self.notes,
            "rejected": [list(line) for line in self.rejected],
            "rejected_rows": self.rejected_rows,
            "detail": self.detail,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Scan:
        """Undo `to_json`."""
        import pyarrow as pa

        packed = record["schema"]
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(packed))) if packed else None
        rejected = [Rejected(*line) for line in record["rejected"]]
        return cls(schema, record["rows"], list(record["notes"]), rejected, record["rejected_rows"], record["detail"])
