"""What another policy would have earned on logged executions, or why that cannot be told from them.

`estimate(rows, target_policy)` is the way in; `read_logged` makes rows of the execution log.
"""

from __future__ import annotations

from orchestai.evaluation.off_policy.estimate import OffPolicyEstimate, SupportLimits, estimate, estimate_gain
from orchestai.evaluation.off_policy.rows import LoggedChoice, LoggedExecution, LoggedRows, TargetPolicy, read_logged

__all__ = [
    "LoggedChoice",
    "LoggedExecution",
    "LoggedRows",
    "OffPolicyEstimate",
    "SupportLimits",
    "TargetPolicy",
    "estimate",
    "estimate_gain",
    "read_logged",
]
