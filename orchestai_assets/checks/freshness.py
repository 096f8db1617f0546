"""How old the parts of the loop have become; an old one is a warning, and blocks nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from orchestai.config.automation import FreshnessAges
from orchestai_assets import keys
from orchestai_assets.checks.gates import gate_result


def freshness_checks(config: FreshnessAges) -> Sequence[dg.AssetChecksDefinition]:
    """Return a check for each part that has an age.

    Not Dagster's `FreshnessPolicy`: it says nothing where the freshness daemon is off, which is the default.
    """
    ages = {
        keys.DATASET_VALIDATION: config.validation_hours,
        keys.PHASE1_CHECKPOINT: config.checkpoint_hours,
        keys.EVALUATION_REPORT: config.report_hours,
    }
    return [_freshness_check(key, hours) for key, hours in ages.items()]


def _freshness_check(key: dg.AssetKey, hours: float) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=key, name=keys.FRESH, description=f"It was made within the last {hours:g} hours.")
    def fresh(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        event = context.instance.get_latest_materialization_event(key)
        made = datetime.fromtimestamp(event.timestamp, UTC) if event is not None else None
        return age_result(made, hours, datetime.now(UTC))

    return fresh


def age_result(made: datetime | None, hours: float, now: datetime) -> dg.AssetCheckResult:
    """Judge an age; what was never made is old."""
    age = (now - made).total_seconds() / 3600 if made is not None else None
    return gate_result(
        "age",
        passed=age is not None and age <= hours,
        observed=f"{age:.1f} hours" if age is not None else "never made",
        allowed=f"at most {hours:g} hours",
        warns=True,
    )
