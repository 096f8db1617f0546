"""The fast guard before planning: exact cache, injection, personal data, secrets, limits, guarded near hit.

`ReflexPipeline.check` runs the stages in that order, in memory and without a network; it owns what may be answered
from the cache and what may leave the process. It does not plan, does not call workers and does not raise on a
refusal: a refusal is a verdict.
"""

from __future__ import annotations

from orchestai.reflex.counters import ReflexCounters
from orchestai.reflex.pipeline import ReflexPipeline
from orchestai.reflex.verdict import InjectionAssessment, ReflexVerdict, VerdictKind

__all__ = ["InjectionAssessment", "ReflexCounters", "ReflexPipeline", "ReflexVerdict", "VerdictKind"]
