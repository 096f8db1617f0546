"""Plans that were good before, for instructions that come again or differ in a detail."""

from __future__ import annotations

from orchestai.contracts import ExecutionResult, Instruction, Plan
from orchestai.planner.plan_cache import PlanCache

_LEARNABLE = ("learned", "llm")
"""The rules plan in less time than a look into the cache takes; a given plan is the caller's own."""


class KnownPlans:
    """The plan cache of one runtime.

    Args:
        version: What made the plans; another planner makes them anew.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._cache = PlanCache()

    def find(self, instruction: Instruction) -> Plan | None:
        """Return a plan that fits, with a new id."""
        known = self._cache.get(instruction, version=self._version)
        return known.plan if known is not None else None

    def keep(self, instruction: Instruction, plan: Plan, result: ExecutionResult) -> None:
        """Keep a plan whose answer a check or a judge accepted."""
        if result.accepted and plan.planner in _LEARNABLE:
            self._cache.put(instruction, plan, version=self._version)
