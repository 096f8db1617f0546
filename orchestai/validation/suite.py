"""Runs a declared suite with Great Expectations: in memory, without progress bars, files or network.

Rules that the library has no name for become rules that it has: `relationships` a set of values, `freshness` a range of
the newest value; both are applied to a column made for the rule.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestai.config import Expectation, ExpectationSuite
from orchestai.validation.report import Gate

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Related = Callable[[str, str], Collection[Any] | None]
"""Gives the values of a column of another table, None where there is no such table or column."""

_CLOCK_SLACK = timedelta(minutes=5)
_SHOWN = 3
_SHOWN_ROWS = 5
_SHOWN_CHARS = 60

_EXPECTATIONS = {
    "not_null": "ExpectColumnValuesToNotBeNull",
    "unique": "ExpectColumnValuesToBeUnique",
    "accepted_values": "ExpectColumnValuesToBeInSet",
    "between": "ExpectColumnValuesToBeBetween",
    "length_between": "ExpectColumnValueLengthsToBeBetween",
    "matches": "ExpectColumnValuesToMatchRegex",
    "row_count": "ExpectTableRowCountToBeBetween",
    "column_exists": "ExpectColumnToExist",
    "accepted_range": "ExpectColumnValuesToBeBetween",
    "relationships": "ExpectColumnValuesToBeInSet",
    "freshness": "ExpectColumnMaxToBeBetween",
}
_ARGUMENTS = {"min": "min_value", "max": "max_value", "values": "value_set", "regex": "regex"}
_MADE = ("relationships", "freshness")
"""Rules about a column that is made for them."""
_REMEDIES = {
    "not_null": "Find out which writer leaves it empty, or drop these rows.",
    "unique": "Remove the rows that repeat a value.",
    "accepted_values": "Correct these values, or add them to the suite.",
    "between": "Look at these rows, or widen the range in the suite.",
    "length_between": "Look at these rows, or widen the range in the suite.",
    "matches": "Correct these values, or the pattern in the suite.",
    "row_count": "Collect more data, or change the range in the suite.",
    "column_exists": "Write the column, or take the rule out of the suite.",
    "accepted_range": "Look at these rows, or widen the range in the suite.",
    "relationships": "Add what is missing to the other table, or drop these rows.",
    "freshness": "Find out why nothing new arrives, or raise `max_age_hours` in the suite.",
}


def run_suite(
    table: pa.Table, suite: ExpectationSuite, *, related: Related | None = None, now: datetime | None = None
) -> tuple[list[Gate], str]:
    """Apply every rule of `suite` to `table`; returns a gate a rule, in order, and the library's version.

    A rule about a column that the table lacks fails; a rule that cannot be evaluated, such as a range of
    texts, fails and says why.

    Args:
        table: The table.
        suite: Its rules.
        related: Finds the other tables of `relationships`.
        now: What `freshness` is measured from; null is the clock.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library imports modules that Python has deprecated
        import great_expectations as gx
        from great_expectations.data_context.types import base

    present = [rule for rule in suite.expectations if rule.column is None or rule.column in table.column_names]
    context = gx.get_context(
        mode="ephemeral",
        project_config=base.DataContextConfig(
            analytics_enabled=False,
            progress_bars=base.ProgressBarsConfig(globally=False),
            store_backend_defaults=base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        ),
    )
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset(suite.table)
    columns = list(dict.fromkeys(rule.column for rule in present if rule.column is not None))
    frame = _to_pandas(table, columns)
    moment = now or datetime.now(UTC)
    sets = {}
    for place, rule in enumerate(suite.expectations):
        if rule in present and rule.type in _MADE:
            if rule.type == "relationships":
                sets[place] = _values_of(rule, related)
            frame[_made(rule, place)] = _made_column(frame[rule.column], rule, sets.get(place))
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    rules = [
        _translate(rule, place, sets.get(place), moment)
        for place, rule in enumerate(suite.expectations)
        if rule in present and (rule.type != "relationships" or sets[place] is not None)
    ]
    outcome = batch.validate(gx.ExpectationSuite(name=suite.table, expectations=rules), result_format="SUMMARY")
    # Results come grouped by column; the place in our suite travels along in `meta`.
    results = {_place(result): result for result in outcome.results}
    gates = [
        _no_relation(rule) if place in sets and sets[place] is None else _to_gate(rule, results.get(place), moment)
        for place, rule in enumerate(suite.expectations)
    ]
    return gates, str(gx.__version__)


def _to_pandas(table: pa.Table, columns: list[str]) -> pd.DataFrame:
    """Return the columns for pandas; lists become tuples, because arrays cannot be compared or hashed."""
    import pandas as pd
    import pyarrow.types as kinds

    frame: dict[str, Any] = {}
    for name in columns:
        column = table[name]
        if kinds.is_nested(column.type):
            frame[name] = pd.Series([_hashable(value) for value in column.to_pylist()], dtype=object)
        else:
            frame[name] = column.to_pandas()
    return pd.DataFrame(frame, index=range(table.num_rows))


def _hashable(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_hashable(item) for item in value)
    if isinstance(value, dict):
        return tuple((key, _hashable(item)) for key, item in value.items())
    return value


def _made(rule: Expectation, place: int) -> str:
    """Return the name of the column that is made for a rule; no table has one like it."""
    return f"\x00{rule.type} {place}" if rule.type in _MADE else str(rule.column)


def _made_column(column: pd.Series, rule: Expectation, known: Collection[Any] | None) -> pd.Series:
    """Return moments for `freshness`; for `relationships` the value, of a list the first that is not known."""
    import pandas as pd

    if rule.type == "freshness":
        form = "ISO8601" if column.dtype == object or pd.api.types.is_string_dtype(column) else None
        moments: pd.Series = pd.to_datetime(column, utc=True, errors="coerce", format=form)
        return moments
    values = known if known is not None else ()

    def one(value: Any) -> Any:
        if not isinstance(value, tuple):
            return value
        items = [item for item in value if item is not None]
        return next((item for item in items if item not in values), items[0] if items else None)

    return pd.Series([one(value) for value in column], index=column.index, dtype=object)


def _values_of(rule: Expectation, related: Related | None) -> Collection[Any] | None:
    found = related(rule.kwargs["to"], rule.kwargs["field"]) if related is not None else None
    return None if found is None else frozenset(value for value in found if value is not None)


def _no_relation(rule: Expectation) -> Gate:
    return Gate(
        name=f"{rule.column}: relationships",
        observed=f"there is no {rule.kwargs['to']}.{rule.kwargs['field']}",
        allowed=_allowed(rule),
        severity=rule.severity,
        passed=False,
        remedy=f"Make the table {rule.kwargs['to']!r} first, or name another one in the suite.",
    )


def _translate(rule: Expectation, place: int, known: Collection[Any] | None, now: datetime) -> Any:
    """Return the library's expectation for `rule`."""
    from great_expectations import expectations

    if rule.type == "relationships":
        return getattr(expectations, _EXPECTATIONS[rule.type])(
            column=_made(rule, place), value_set=list(known or ()), meta={"place": place}
        )
    if rule.type == "freshness":
        return getattr(expectations, _EXPECTATIONS[rule.type])(
            column=_made(rule, place),
            min_value=now - timedelta(hours=rule.kwargs["max_age_hours"]),
            max_value=now + _CLOCK_SLACK,
            meta={"place": place},
        )
    arguments = {_ARGUMENTS[name]: value for name, value in rule.kwargs.items()}
    if rule.type in ("length_between", "row_count"):  # counts: the library refuses 3.0
        arguments = {name: None if value is None else int(value) for name, value in arguments.items()}
    if "value_set" in arguments:
        arguments["value_set"] = list(arguments["value_set"])
    if rule.column is not None:
        arguments["column"] = rule.column
    return getattr(expectations, _EXPECTATIONS[rule.type])(**arguments, meta={"place": place})


def _place(result: Any) -> int:
    return int(result.expectation_config.meta["place"])


def _to_gate(rule: Expectation, result: Any, now: datetime) -> Gate:
    passed = result is not None and bool(result.success)
    return Gate(
        name=f"{rule.column}: {rule.type}" if rule.column else rule.type,
        observed=_age(result, now) if rule.type == "freshness" else _observed(result),
        allowed=_allowed(rule),
        severity=rule.severity,
        passed=passed,
        remedy=None if passed else _remedy(rule, result),
    )


def _remedy(rule: Expectation, result: Any) -> str:
    if result is None:
        return f"Write the column {rule.column!r}, or take the rule out of the suite."
    return _REMEDIES[rule.type]


def _observed(result: Any) -> str:
    if result is None:
        return "no such column"
    found = result.result
    if "observed_value" in found:
        return f"{found['observed_value']:,}"
    if "unexpected_count" not in found:
        return "present" if result.success else f"cannot be evaluated: {_problem(result.exception_info)}"
    count, total = found["unexpected_count"], found["element_count"]
    if not count:
        return f"0 of {total:,} rows break it"
    values = dict.fromkeys(repr(value)[:_SHOWN_CHARS] for value in found["partial_unexpected_list"])
    shown = ", ".join(list(values)[:_SHOWN])
    places = found.get("partial_unexpected_index_list") or []
    more = ", ..." if count > len(places[:_SHOWN_ROWS]) else ""
    rows = f" (rows {', '.join(str(row) for row in places[:_SHOWN_ROWS])}{more})" if places else ""
    return f"{count:,} of {total:,} rows break it, such as {shown}{rows}"


def _age(result: Any, now: datetime) -> str:
    """Say how old the newest value is."""
    if result is None:
        return "no such column"
    newest = result.result.get("observed_value")
    if newest is None or newest != newest:
        return "no moment in it"
    if isinstance(newest, str):
        newest = datetime.fromisoformat(newest)
    hours = (now - newest).total_seconds() / 3600
    if hours < 0:
        return f"newest {newest:%Y-%m-%d %H:%M} UTC, {-hours:,.1f} hours in the future"
    return f"newest {newest:%Y-%m-%d %H:%M} UTC, {hours:,.1f} hours old"


def _problem(info: dict[str, Any]) -> str:
    """Return the first message among what the library keeps for each metric that raised."""
    messages = [info, *(entry for entry in info.values() if isinstance(entry, dict))]
    for entry in messages:
        if message := entry.get("exception_message"):
            return " ".join(str(message).split())[:200]
    return "no reason given"


def _allowed(rule: Expectation) -> str:
    low, high = rule.kwargs.get("min"), rule.kwargs.get("max")
    match rule.type:
        case "not_null":
            return "no null"
        case "unique":
            return "no value twice"
        case "accepted_values":
            return "one of " + ", ".join(str(value) for value in rule.kwargs["values"])
        case "matches":
            return f"matches {rule.kwargs['regex']}"
        case "column_exists":
            return "the column exists"
        case "relationships":
            return f"every value stands in {rule.kwargs['to']}.{rule.kwargs['field']}"
        case "freshness":
            return f"newest value at most {rule.kwargs['max_age_hours']:,g} hours old"
    unit = {"length_between": " characters", "row_count": " rows"}.get(rule.type, "")
    if low is None:
        return f"at most {high:,g}{unit}"
    return f"at least {low:,g}{unit}" if high is None else f"{low:,g} to {high:,g}{unit}"
