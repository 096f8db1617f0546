"""Runs a declared suite with Great Expectations: in memory, without progress bars, files or network."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from orchestai.config import Expectation, ExpectationSuite
from orchestai.validation.report import Gate

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_SHOWN = 3
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
}
_ARGUMENTS = {"min": "min_value", "max": "max_value", "values": "value_set", "regex": "regex"}
_REMEDIES = {
    "not_null": "Find out which writer leaves it empty, or drop these rows.",
    "unique": "Remove the rows that repeat a value.",
    "accepted_values": "Correct these values, or add them to the suite.",
    "between": "Look at these rows, or widen the range in the suite.",
    "length_between": "Look at these rows, or widen the range in the suite.",
    "matches": "Correct these values, or the pattern in the suite.",
    "row_count": "Collect more data, or change the range in the suite.",
    "column_exists": "Write the column, or take the rule out of the suite.",
}


def run_suite(table: pa.Table, suite: ExpectationSuite) -> tuple[list[Gate], str]:
    """Apply every rule of `suite` to `table`; returns a gate a rule, in order, and the library's version.

    A rule about a column that the table lacks fails; a rule that cannot be evaluated, such as a range of
    texts, fails and says why.
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
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    rules = [_translate(rule, place) for place, rule in enumerate(suite.expectations) if rule in present]
    outcome = batch.validate(gx.ExpectationSuite(name=suite.table, expectations=rules), result_format="BASIC")
    # Results come grouped by column; the place in our suite travels along in `meta`.
    results = {_place(result): result for result in outcome.results}
    gates = [_to_gate(rule, results.get(place)) for place, rule in enumerate(suite.expectations)]
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


def _translate(rule: Expectation, place: int) -> Any:
    """Return the library's expectation for `rule`."""
    from great_expectations import expectations

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


def _to_gate(rule: Expectation, result: Any) -> Gate:
    passed = result is not None and bool(result.success)
    return Gate(
        name=f"{rule.column}: {rule.type}" if rule.column else rule.type,
        observed=_observed(result),
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
    return f"{count:,} of {total:,} rows break it, such as {shown}"


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
    unit = {"length_between": " characters", "row_count": " rows"}.get(rule.type, "")
    if low is None:
        return f"at most {high:,g}{unit}"
    return f"at least {low:,g}{unit}" if high is None else f"{low:,g} to {high:,g}{unit}"
