"""Runs a declared suite with Great Expectations and says what became of each rule."""

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg

from orchestai.config import Expectation, ExpectationSuite

if TYPE_CHECKING:
    import pyarrow as pa

_SAMPLE = 5


class RuleResult(NamedTuple):
    """What became of one rule."""

    expectation: Expectation
    held: bool
    observed: str

    @property
    def allowed(self) -> str:
        """The rule in words."""
        arguments = ", ".join(f"{name} {value}" for name, value in self.expectation.kwargs.items())
        return f"{self.expectation.type} {arguments}".strip()


def run_suite(suite: ExpectationSuite, table: "pa.Table") -> list[RuleResult]:
    """Apply every rule of `suite` to `table`, in the order of the suite.

    A rule about a column that the table lacks does not hold; it is no error.
    """
    # The library would report its use over the network, and draw progress bars into the log.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    batches = context.data_sources.add_pandas("orchestai").add_dataframe_asset(suite.table)
    batch = batches.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": table.to_pandas()})
    rules = [_translate(rule, index) for index, rule in enumerate(suite.expectations)]
    outcome = batch.validate(gx.ExpectationSuite(name=suite.table, expectations=rules))
    # Great Expectations groups its results by column; the position in our suite travels along in `meta`.
    results = {result.expectation_config.meta["index"]: result for result in outcome.results}
    return [
        RuleResult(rule, bool(results[index].success), _observed(rule, results[index], table))
        for index, rule in enumerate(suite.expectations)
    ]


def suite_result(
    suite: ExpectationSuite, results: list[RuleResult], extra: dict[str, Any] | None = None
) -> dg.AssetCheckResult:
    """Turn outcomes into a check: it fails as an error for a rule that blocks, as a warning for others."""
    broken = [result for result in results if not result.held]
    blocking = any(result.expectation.severity == "error" for result in broken)
    first = broken[0] if broken else None
    return dg.AssetCheckResult(
        passed=not broken,
        severity=dg.AssetCheckSeverity.ERROR if blocking or not broken else dg.AssetCheckSeverity.WARN,
        description=(
            f"{len(broken)} of {len(results)} rules of {suite.table!r} do not hold." if broken else "All rules hold."
        ),
        metadata={
            "gate": first.expectation.column or suite.table if first else suite.table,
            "observed": first.observed if first else "all rules hold",
            "allowed": first.allowed if first else f"{len(results)} rules",
            "rules": dg.MetadataValue.table([_record(result) for result in results]),
            **(extra or {}),
        },
    )


def _translate(rule: Expectation, index: int) -> Any:
    import great_expectations.expectations as gxe

    low, high = rule.kwargs.get("min"), rule.kwargs.get("max")
    limits = {"min_value": low, "max_value": high}
    whole = {name: None if value is None else int(value) for name, value in limits.items()}
    common: dict[str, Any] = {"meta": {"index": index}}
    if rule.column is not None:
        common["column"] = rule.column
    match rule.type:
        case "not_null":
            return gxe.ExpectColumnValuesToNotBeNull(**common)
        case "unique":
            return gxe.ExpectColumnValuesToBeUnique(**common)
        case "column_exists":
            return gxe.ExpectColumnToExist(**common)
        case "accepted_values":
            return gxe.ExpectColumnValuesToBeInSet(value_set=list(rule.kwargs["values"]), **common)
        case "between":
            return gxe.ExpectColumnValuesToBeBetween(**limits, **common)
        case "length_between":
            return gxe.ExpectColumnValueLengthsToBeBetween(**whole, **common)
        case "row_count":
            return gxe.ExpectTableRowCountToBeBetween(**whole, **common)
        case "matches":
            return gxe.ExpectColumnValuesToMatchRegex(regex=rule.kwargs["regex"], **common)


def _observed(rule: Expectation, result: Any, table: "pa.Table") -> str:
    if rule.column is not None and rule.column not in table.column_names:
        return "no such column"
    found = result.result
    if "observed_value" in found:
        return str(found["observed_value"])
    if "unexpected_count" not in found:
        return "present" if result.success else "not evaluated"
    count, total = found["unexpected_count"], found["element_count"]
    if not count:
        return f"0 of {total} values"
    sample = ", ".join(repr(value)[:60] for value in found["partial_unexpected_list"][:_SAMPLE])
    return f"{count} of {total} values, such as {sample}"


def _record(result: RuleResult) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "column": result.expectation.column or "(table)",
            "rule": result.allowed,
            "severity": result.expectation.severity,
            "held": result.held,
            "observed": result.observed,
        }
    )
