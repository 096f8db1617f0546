"""Rules that the library has no name for, each holding and broken; messages name column, rows and remedy."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from orchestai.config import ExpectationSuite, load_project
from orchestai.validation.report import Gate
from orchestai.validation.suite import run_suite

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
OTHER: dict[tuple[str, str], Collection[Any]] = {
    ("customers", "id"): [1, 2, 3, None],
    ("types", "name"): {"read", "write"},
}


def run(rule: dict[str, Any], **columns: Any) -> Gate:
    suite = ExpectationSuite.model_validate({"table": "orders", "expectations": [rule]})
    gates, _ = run_suite(pa.table(columns), suite, related=lambda to, field: OTHER.get((to, field)), now=NOW)
    return gates[0]


CUSTOMER = {"type": "relationships", "column": "customer", "kwargs": {"to": "customers", "field": "id"}}
TYPES = {"type": "relationships", "column": "types", "kwargs": {"to": "types", "field": "name"}}
FRESH = {"type": "freshness", "column": "at", "kwargs": {"max_age_hours": 24}}
RANGE = {"type": "accepted_range", "column": "price", "kwargs": {"min": 0, "max": 10}}


@pytest.mark.parametrize(
    ("rule", "columns"),
    [
        (CUSTOMER, {"customer": [1, 2, None, 3]}),
        (TYPES, {"types": [["read", "write"], [], None, ["read"]]}),
        (FRESH, {"at": [NOW - timedelta(days=9), NOW - timedelta(hours=23)]}),
        (FRESH, {"at": ["2026-05-20", "2026-06-01T00:00:00Z", None]}),
        (RANGE, {"price": [0.0, 10.0, None]}),
    ],
)
def test_rules_that_hold(rule: dict[str, Any], columns: dict[str, Any]) -> None:
    found = run(rule, **columns)
    assert found.passed, found
    assert found.remedy is None


@pytest.mark.parametrize(
    ("rule", "columns", "observed", "allowed"),
    [
        (CUSTOMER, {"customer": [1, 7, 3, 9]}, "2 of 4 rows break it, such as 7, 9 (rows 1, 3)", "in customers.id"),
        (TYPES, {"types": [["read"], ["read", "fly"]]}, "1 of 2 rows break it, such as 'fly' (rows 1)", "types.name"),
        (FRESH, {"at": [NOW - timedelta(hours=31)]}, "newest 2026-05-31 05:00 UTC, 31.0 hours old", "at most 24 hours"),
        (FRESH, {"at": [NOW + timedelta(hours=2)]}, "2.0 hours in the future", "at most 24 hours"),
        (FRESH, {"at": ["soon", None]}, "no moment in it", "at most 24 hours"),
        (RANGE, {"price": [5.0, 11.0, -1.0]}, "2 of 3 rows break it, such as 11.0, -1.0 (rows 1, 2)", "0 to 10"),
        (CUSTOMER, {"other": [1]}, "no such column", "customers.id"),
        (
            {**CUSTOMER, "kwargs": {"to": "nobody", "field": "id"}},
            {"customer": [1]},
            "there is no nobody.id",
            "nobody.id",
        ),
    ],
)
def test_rules_that_are_broken(rule: dict[str, Any], columns: dict[str, Any], observed: str, allowed: str) -> None:
    found = run(rule, **columns)
    assert not found.passed
    assert observed in str(found.observed)
    assert allowed in found.allowed
    assert found.name.startswith(rule["column"])
    assert found.remedy


def test_many_rows_are_cut_short() -> None:
    found = run(RANGE, price=[99.0] * 1000)
    assert found.observed == "1,000 of 1,000 rows break it, such as 99.0 (rows 0, 1, 2, 3, 4, ...)"


@pytest.mark.parametrize(
    "rule",
    [
        {"type": "relationships", "column": "c", "kwargs": {"to": "x"}},
        {"type": "freshness", "column": "c", "kwargs": {"max_age_hours": 0}},
        {"type": "freshness", "kwargs": {"max_age_hours": 1}},
        {"type": "accepted_range", "column": "c", "kwargs": {"min": 2, "max": 1}},
    ],
)
def test_wrong_arguments_are_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ExpectationSuite.model_validate({"table": "t", "expectations": [rule]})


def test_the_projects_own_tables_and_catalogs_can_be_named() -> None:
    from orchestai.app.places import related_values

    find = related_values(load_project(target="ci"))
    names = find("task_types", "name")
    assert names is not None
    assert "summarization" in names
    assert find("workers", "name")
    assert find("workers", "price") is None
    assert find("nothing", "name") is None
