"""What validation found: gates, figures and the verdict. A refusal is a result, not an exception."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import computed_field

from orchestai.contracts.base import Record
from orchestai.logs.files import write_file

Severity = Literal["error", "warn"]


class ValidationThresholds(Record):
    """What a table must keep to, beside its declared expectations.

    Attributes:
        min_rows: Fewest rows.
        max_duplicate_share: Largest share of rows that repeat another one in everything that is learned from.
        max_label_share: Largest share of one task type or worker; beyond it the gate warns.
        min_label_entropy: Smallest entropy of task types or workers, 1 if all are equally frequent; below it
            the gate warns.
    """

    min_rows: int = 1
    max_duplicate_share: float = 0.1
    max_label_share: float = 0.8
    min_label_entropy: float = 0.3


class Gate(Record):
    """One condition.

    Attributes:
        name: What is looked at.
        observed: What was found.
        allowed: What would pass.
        severity: `error` refuses the table, `warn` only reports.
        passed: Whether the condition holds.
        remedy: What to do if it does not.
    """

    name: str
    observed: str | int | float
    allowed: str
    severity: Severity = "error"
    passed: bool
    remedy: str | None = None


class DuplicateStats(Record):
    """Rows that repeat another one.

    Attributes:
        columns: What was compared.
        rows: Rows that repeat an earlier one.
        share: Those among all rows.
    """

    columns: tuple[str, ...]
    rows: int
    share: float


class LabelBalance(Record):
    """How often each label occurs.

    Attributes:
        column: Where the labels stand.
        counts: Occurrences, the most frequent first.
        most_frequent: The most frequent label.
        share: Its share of all occurrences.
        entropy: Shannon entropy over its largest possible value, between 0 and 1; 0 for a single label.
    """

    column: str
    counts: dict[str, int]
    most_frequent: str | None
    share: float
    entropy: float


class ValidationReport(Record):
    """The verdict on a table and everything behind it.

    Attributes:
        table: Name of the suite's table.
        rows: Rows looked at.
        gates: All conditions, in the order: schema, rows, expectations, duplicates, balance.
        duplicates: Rows that repeat another one.
        balance: Label balance by column.
        great_expectations: Version that ran the suite.
        seconds: Time that it took.
    """

    table: str
    rows: int
    gates: tuple[Gate, ...]
    duplicates: DuplicateStats
    balance: dict[str, LabelBalance]
    great_expectations: str
    seconds: float

    @computed_field  # type: ignore[prop-decorator]
    @property
    def approved(self) -> bool:
        """Whether no gate of severity `error` failed."""
        return not self.refusals

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Literal["approved", "refused"]:
        """`approved` or `refused`."""
        return "approved" if self.approved else "refused"

    @property
    def refusals(self) -> tuple[Gate, ...]:
        """The gates for which the table is refused."""
        return tuple(gate for gate in self.gates if not gate.passed and gate.severity == "error")

    @property
    def warnings(self) -> tuple[Gate, ...]:
        """The gates that failed but do not refuse."""
        return tuple(gate for gate in self.gates if not gate.passed and gate.severity == "warn")

    def save(self, path: Path) -> None:
        """Write the report as JSON.

        Raises:
            StorageError: The disk refuses.
        """
        write_file(path, (self.model_dump_json(indent=2) + "\n").encode())
