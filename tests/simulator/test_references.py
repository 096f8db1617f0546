from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from orchestai.contracts import AcceptanceCheck, judge_answer
from orchestai.simulator import ReferenceBook, reference_answer
from orchestai.simulator.answers import wrong_answer
from orchestai.simulator.regex_sampler import sample_match

CORPUS = Path(__file__).parents[2] / "examples" / "starter" / "instructions.jsonl"


def checks(*raw: dict[str, Any]) -> tuple[AcceptanceCheck, ...]:
    return tuple(AcceptanceCheck(**check) for check in raw)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?i)\b2[.,]?400\b",
        r"^\d{3}-\d{4}$",
        r"colou?r",
        r"(foo|bar)+baz",
        r"(?i)12(th)?( of)? april|april 12",
        r"\b13(?!\d)",
        r"(?=.*red)(?=.*blue)",
        r"[^\s\d]{4,}\s+x",
        r"(\w)\1",
        r"(?s)SELECT.+FROM\s+orders",
        r"a.c",
        r"[[:alpha:]]",
    ],
)
@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
def test_a_sample_matches(pattern: str) -> None:
    text = sample_match(pattern)
    assert text is not None
    assert re.search(pattern, text)


@pytest.mark.parametrize("pattern", [r"(?!)", r"a^b", r"(?<=x)(?<!x)y", r"["])
def test_no_sample_rather_than_a_wrong_one(pattern: str) -> None:
    assert sample_match(pattern) is None


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ([{"kind": "contains", "value": "ORD-4471"}], "ORD-4471"),
        ([{"kind": "contains_any", "values": ["two", "2"]}], "two"),
        ([{"kind": "equals", "value": "positive"}], "positive"),
        ([{"kind": "parses", "value": "number"}, {"kind": "matches", "value": r"^\d{2}5$"}], None),
        ([{"kind": "parses", "value": "number"}], "42"),
        ([{"kind": "contains", "value": "cat"}, {"kind": "contains", "value": "CATALOG"}], "CATALOG"),
    ],
)
def test_simple_references(raw: list[dict[str, Any]], expected: str | None) -> None:
    answer = reference_answer(checks(*raw))
    assert answer is not None
    assert all(result.held for result in judge_answer(checks(*raw), answer))
    if expected is not None:
        assert answer == expected


@pytest.mark.parametrize("value", ['"name": "Ada"', '"total"', "Ada", "17"])
def test_json_references_parse(value: str) -> None:
    given = checks({"kind": "parses", "value": "json"}, {"kind": "contains", "value": value})
    answer = reference_answer(given)
    assert answer is not None
    json.loads(answer)
    assert value in answer


@pytest.mark.parametrize("value", ["def total(", "for row in rows", "import csv", "lambda"])
def test_python_references_compile(value: str) -> None:
    given = checks({"kind": "parses", "value": "python"}, {"kind": "contains", "value": value})
    answer = reference_answer(given)
    assert answer is not None
    compile(answer, "reference", "exec")
    assert value in answer


def test_contradictions_have_no_reference() -> None:
    assert reference_answer(()) is None
    assert reference_answer(checks({"kind": "equals", "value": "a"}, {"kind": "equals", "value": "b"})) is None
    assert reference_answer(checks({"kind": "matches", "value": "(?!)"})) is None


def starter_checks() -> list[tuple[AcceptanceCheck, ...]]:
    records = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    return [checks(*record["acceptance"]) for record in records if record["acceptance"]]


def test_every_instruction_of_the_starter_corpus_has_a_reference_and_wrong_answers_fail() -> None:
    everything = starter_checks()
    assert len(everything) > 100
    rng = Random(1)
    for given in everything:
        answer = reference_answer(given)
        assert answer is not None, given
        wrong = wrong_answer(answer, rng)
        assert not all(result.held for result in judge_answer(given, wrong)), (given, wrong)


def test_the_longest_known_text_decides_and_white_space_does_not_count() -> None:
    book = ReferenceBook({"Name a city.": "Rome", "Name a city.  Then a river.": "Po", " ": "x"})
    assert book.find('The request:\n"""\nName a city.\nThen a river.\n"""') == "Name a city.  Then a river."
    assert book["Name a city.  Then a river."] == "Po"
    assert book.find("Please: Name a city.") == "Name a city."
    assert book.find("Something else") is None
    assert len(book) == 2
