"""Checks that a machine applies to an answer: `success` means that they held, not that nothing raised."""

from __future__ import annotations

import ast
import json
import re
from typing import Literal, Self

import regex
from pydantic import model_validator

from orchestai.contracts.base import Record

_FENCE = re.compile(r"```[\w+-]*\n(.*?)```", re.DOTALL)
_PATTERN_TIMEOUT_S = 0.25
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")


class AcceptanceCheck(Record):
    """One condition on the final answer.

    Attributes:
        kind: `contains` and `equals` ignore case; `matches` is a regular expression; `parses` wants
            the answer (or its only fenced block) to be valid `json`, `python` or a `number`.
        value: What to look for.
        values: The alternatives of `contains_any`.
    """

    kind: Literal["contains", "contains_any", "matches", "parses", "equals"]
    value: str | None = None
    values: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        if self.kind == "contains_any":
            if not self.values:
                raise ValueError("`values` must name at least one alternative for 'contains_any'.")
        elif not self.value:
            raise ValueError(f"`value` must not be empty for {self.kind!r}.")
        if self.kind == "parses" and self.value not in ("json", "python", "number"):
            raise ValueError(f"`value` must be json, python or number for 'parses', got {self.value!r}.")
        if self.kind == "matches":
            try:
                re.compile(self.value or "")
            except re.error as error:
                raise ValueError(f"`value` is not a regular expression: {error}.") from error
        return self

    def holds(self, answer: str) -> bool:
        """Say whether `answer` meets this condition."""
        value = self.value or ""
        match self.kind:
            case "contains":
                return value.casefold() in answer.casefold()
            case "contains_any":
                return any(alternative.casefold() in answer.casefold() for alternative in self.values)
            case "matches":
                return _matches(value, answer)
            case "equals":
                return _bare(answer) == _bare(value)
            case "parses":
                return _parses(answer, value)


class CheckResult(Record):
    """What became of one check."""

    check: AcceptanceCheck
    held: bool


def judge_answer(checks: tuple[AcceptanceCheck, ...], answer: str) -> tuple[CheckResult, ...]:
    """Apply every check to `answer`."""
    return tuple(CheckResult(check=check, held=check.holds(answer)) for check in checks)


def _matches(pattern: str, answer: str) -> bool:
    """Search with a time limit: a pattern from a stranger may take for ever, and `re` cannot be stopped."""
    try:
        return regex.search(pattern, answer, timeout=_PATTERN_TIMEOUT_S) is not None
    except (TimeoutError, regex.error):
        return False


def _bare(text: str) -> str:
    return text.strip().strip("\"'`*").rstrip(".!").strip().casefold()


def _parses(answer: str, form: str) -> bool:
    blocks = _FENCE.findall(answer)
    body = (blocks[0] if len(blocks) == 1 else answer).strip()
    if form == "number":
        return _NUMBER.fullmatch(body.strip("$€£% ")) is not None
    try:
        if form == "json":
            json.loads(body)
        else:
            ast.parse(body)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False
    return bool(body)
