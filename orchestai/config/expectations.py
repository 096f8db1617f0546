"""Declared data rules: one suite a table."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from orchestai.contracts.base import Record

ExpectationType = Literal[
    "not_null",
    "unique",
    "accepted_values",
    "between",
    "matches",
    "row_count",
    "column_exists",
    "length_between",
    "relationships",
    "accepted_range",
    "freshness",
]
Severity = Literal["error", "warn"]


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}.") from error
    return pattern


class NoArguments(Record):
    """The rule needs the column only."""


class ValuesArguments(Record):
    """Arguments of `accepted_values`.

    Attributes:
        values: Every value of the column is one of these.
    """

    values: tuple[str | int | float | bool, ...] = Field(min_length=1)


class RangeArguments(Record):
    """Arguments of `between`, `accepted_range`, `length_between` and `row_count`; both ends belong to the range.

    Attributes:
        min: Smallest value allowed; null means no limit.
        max: Largest value allowed; null means no limit.
    """

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("needs `min`, `max` or both.")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"`min` must be <= `max`, got {self.min:g} > {self.max:g}.")
        return self


class PatternArguments(Record):
    """Arguments of `matches`.

    Attributes:
        regex: Regular expression that is found in every value.
    """

    regex: Annotated[str, AfterValidator(_check_pattern)]


class RelationArguments(Record):
    """Arguments of `relationships`.

    Attributes:
        to: Table that every value has to stand in: `execution_logs`, `training_data`, or the catalogs `task_types` and
            `workers`; callers of the library may give others.
        field: Column of that table; `name` in the catalogs.
    """

    to: str = Field(min_length=1)
    field: str = Field(min_length=1)


class AgeArguments(Record):
    """Arguments of `freshness`.

    Attributes:
        max_age_hours: Largest age of the newest value.
    """

    max_age_hours: float = Field(gt=0)


ARGUMENTS: dict[ExpectationType, type[Record]] = {
    "not_null": NoArguments,
    "unique": NoArguments,
    "column_exists": NoArguments,
    "accepted_values": ValuesArguments,
    "between": RangeArguments,
    "length_between": RangeArguments,
    "row_count": RangeArguments,
    "matches": PatternArguments,
    "relationships": RelationArguments,
    "accepted_range": RangeArguments,
    "freshness": AgeArguments,
}


class Expectation(Record):
    """One rule.

    Attributes:
        type: Which rule.
        column: Column that it is about; `row_count` is about the table and takes none.
        kwargs: Arguments of the rule, such as `min` and `max`.
        severity: `error` blocks what comes after, `warn` only reports.
        description: Why the rule holds, in words.
    """

    type: ExpectationType
    column: str | None = Field(default=None, min_length=1)
    kwargs: dict[str, Any] = Field(default_factory=dict)
    severity: Severity = "error"
    description: str = ""

    @model_validator(mode="after")
    def _check_arguments(self) -> Self:
        if (self.column is None) != (self.type == "row_count"):
            raise ValueError(
                "`row_count` is about the table: leave `column` out."
                if self.type == "row_count"
                else f"`column` is missing: {self.type!r} is about a column."
            )
        try:
            ARGUMENTS[self.type].model_validate(self.kwargs)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]["msg"]
            # The whole error travels in the context, so that each argument gets its own line in the report.
            context = {"nested": error, "under": "kwargs", "model": ARGUMENTS[self.type]}
            raise PydanticCustomError("arguments", "`kwargs` of " + self.type + ": " + first, context) from error
        return self


class ExpectationSuite(Record):
    """The rules of one table.

    Attributes:
        table: Name of the table.
        description: What the table holds.
        expectations: The rules, in order.
    """

    table: str = Field(min_length=1)
    description: str = ""
    expectations: tuple[Expectation, ...] = Field(min_length=1)
