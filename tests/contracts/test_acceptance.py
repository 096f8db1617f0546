"""Checks that decide on success."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from orchestai.contracts import AcceptanceCheck, judge_answer


def check(kind: str, value: str | None = None, *values: str) -> AcceptanceCheck:
    return AcceptanceCheck.model_validate({"kind": kind, "value": value, "values": values})


@pytest.mark.parametrize(
    ("the_check", "answer", "holds"),
    [
        (check("contains", "ORD-4471"), "It is ord-4471.", True),
        (check("contains", "ORD-4471"), "It is ORD-4472.", False),
        (check("contains_any", None, "two", "2"), "there are 2", True),
        (check("contains_any", None, "two", "2"), "three", False),
        (check("matches", r"\b2[.,]?400\b"), "2,400 ml", True),
        (check("matches", r"\b2[.,]?400\b"), "12400", False),
        (check("equals", "positive"), ' "Positive." ', True),
        (check("equals", "positive"), "positive and negative", False),
        (check("parses", "json"), '```json\n{"a": 1}\n```', True),
        (check("parses", "json"), "{a: 1}", False),
        (check("parses", "python"), "def f():\n    return 1", True),
        (check("parses", "python"), "def f(:", False),
        (check("parses", "python"), "", False),
        (check("parses", "number"), "1,234.5", True),
        (check("parses", "number"), "about 12", False),
    ],
)
def test_holds(the_check: AcceptanceCheck, answer: str, holds: bool) -> None:
    assert the_check.holds(answer) is holds
    assert [result.held for result in judge_answer((the_check,), answer)] == [holds]


def test_deeply_nested_json_is_a_failed_check_not_a_crash() -> None:
    assert not check("parses", "json").holds("[" * 100_000)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "contains"},
        {"kind": "contains_any"},
        {"kind": "matches", "value": "("},
        {"kind": "parses", "value": "xml"},
        {"kind": "sounds_like", "value": "x"},
    ],
)
def test_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AcceptanceCheck.model_validate(fields)
