"""How often a step is tried again that failed for a passing reason."""

import dagster as dg

from orchestai.config.automation import RetriesConfig


def retry_policy(config: RetriesConfig) -> dg.RetryPolicy | None:
    """Return the policy: pauses double and have a random part, so that many steps do not come back at once."""
    if not config.attempts:
        return None
    return dg.RetryPolicy(
        max_retries=config.attempts,
        delay=config.delay_s,
        backoff=dg.Backoff.EXPONENTIAL,
        jitter=dg.Jitter.PLUS_MINUS,
    )
