"""The days that execution logs are partitioned by."""

import dagster as dg

from orchestai.config import DagsterConfig


def days(config: DagsterConfig) -> dg.DailyPartitionsDefinition:
    """Return the UTC days from the configured start up to today, which exists before it is over."""
    return dg.DailyPartitionsDefinition(start_date=config.start_date.isoformat(), timezone="UTC", end_offset=1)
