"""Who there is, what they can do, how busy they are, and who is best for a task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from orchestai.config import ScoringConfig
from orchestai.contracts import WorkerCatalog, WorkerProfile
from orchestai.contracts.base import Record
from orchestai.errors import InputError, NoArmError

_TYPICAL_TOKENS = (500, 250)
_SMOOTHING = 0.2


class ArmStatus(Record):
    """What is known of one arm at a moment.

    Attributes:
        name: Its name.
        capabilities: What it can do: roles, task types, modalities, anything that a caller asks for.
        available: Whether it may be chosen.
        reason: Why not, if not.
        in_flight: Calls that run now.
        capacity: Calls that it takes at a time; null means no limit.
        calls: Calls that ended.
        success_rate: Share of good ones, drawn towards the configured assumption while there are few.
        cost_usd: Price of a call: a moving mean, the profile's estimate before the first.
        latency_ms: Time of a call, likewise.
        score: How good a choice it is now, between 0 and 1.
    """

    name: str
    capabilities: frozenset[str]
    available: bool
    reason: str | None
    in_flight: int
    capacity: int | None
    calls: int
    success_rate: float
    cost_usd: float
    latency_ms: float
    score: float


def score(*, cost_usd: float, latency_ms: float, success_rate: float, load: float, weights: ScoringConfig) -> float:
    """Return how good a choice an arm is, between 0 and 1.

    The weighted mean of the success rate, of `scale / (scale + value)` for cost and latency, and of the free
    capacity. Nothing is relative to the other arms, so a new one never changes the order of two old ones.

    Args:
        cost_usd: Price of a call.
        latency_ms: Time of a call.
        success_rate: Share of good answers.
        load: Share of the capacity in use.
        weights: What counts how much.
    """
    parts = (
        (weights.success, success_rate),
        (weights.cost, weights.cost_scale_usd / (weights.cost_scale_usd + cost_usd)),
        (weights.latency, weights.latency_scale_ms / (weights.latency_scale_ms + latency_ms)),
        (weights.load, 1.0 - min(max(load, 0.0), 1.0)),
    )
    return sum(weight * value for weight, value in parts) / sum(weight for weight, _ in parts)


@dataclass
class _Entry:
    capabilities: frozenset[str]
    capacity: int | None
    cost_usd: float
    latency_ms: float
    in_flight: int = 0
    calls: int = 0
    successes: int = 0
    observed: bool = False


class ArmRegistry:
    """Arms and workers by capability. Not thread safe: one event loop owns it.

    Args:
        weights: What counts how much in a score.
        why_not: Says why an arm may not be chosen now (its breaker is open); None means that it may.
    """

    def __init__(
        self, weights: ScoringConfig | None = None, *, why_not: Callable[[str], str | None] | None = None
    ) -> None:
        self._weights = weights or ScoringConfig()
        self._why_not = why_not or (lambda _name: None)
        self._entries: dict[str, _Entry] = {}

    @classmethod
    def of_catalog(
        cls,
        workers: WorkerCatalog,
        weights: ScoringConfig | None = None,
        *,
        why_not: Callable[[str], str | None] | None = None,
    ) -> Self:
        """Return a registry of all workers; each offers its modalities, its task types and its role as an arm."""
        registry = cls(weights, why_not=why_not)
        for profile in workers.profiles():
            role = (profile.arm.role,) if profile.arm is not None else ()
            registry.register(profile, (*profile.modalities, *profile.task_types, *role))
        return registry

    def register(self, profile: WorkerProfile, capabilities: Iterable[str], *, capacity: int | None = None) -> None:
        """Add an arm.

        Args:
            profile: Facts of the arm.
            capabilities: What it can do.
            capacity: Calls at a time; null takes the profile's `max_concurrency`.

        Raises:
            InputError: The name is taken, or it can do nothing.
        """
        offered = frozenset(capabilities)
        if profile.name in self._entries:
            raise InputError(f"The arm {profile.name!r} is registered already.", remedy="Give it another name.")
        if not offered:
            raise InputError(f"The arm {profile.name!r} has no capability.", remedy="Name at least one.")
        self._entries[profile.name] = _Entry(
            capabilities=offered,
            capacity=capacity if capacity is not None else profile.max_concurrency,
            cost_usd=_estimated_cost(profile),
            latency_ms=profile.typical_latency_ms,
        )

    @contextmanager
    def in_use(self, name: str) -> Iterator[None]:
        """Count a call as load while it runs."""
        entry = self._entry(name)
        entry.in_flight += 1
        try:
            yield
        finally:
            entry.in_flight -= 1

    def observe(self, name: str, *, success: bool, cost_usd: float, latency_ms: float) -> None:
        """Learn from a call that ended."""
        entry = self._entry(name)
        entry.calls += 1
        entry.successes += success
        share = _SMOOTHING if entry.observed else 1.0
        entry.cost_usd += share * (cost_usd - entry.cost_usd)
        entry.latency_ms += share * (latency_ms - entry.latency_ms)
        entry.observed = True

    def status(self, name: str) -> ArmStatus:
        """Return what is known of one arm."""
        entry = self._entry(name)
        weights = self._weights
        # Beta-binomial mean: the assumption is worth `prior_calls` calls.
        good = entry.successes + weights.prior_success * weights.prior_calls
        success_rate = good / (entry.calls + weights.prior_calls)
        # Without a limit there is no share; 1, 2, 3 ... calls count as 1/2, 2/3, 3/4 ... of it.
        load = entry.in_flight / (entry.capacity or (entry.in_flight + 1))
        reason = self._why_not(name)
        return ArmStatus(
            name=name,
            capabilities=entry.capabilities,
            available=reason is None,
            reason=reason,
            in_flight=entry.in_flight,
            capacity=entry.capacity,
            calls=entry.calls,
            success_rate=success_rate,
            cost_usd=entry.cost_usd,
            latency_ms=entry.latency_ms,
            score=score(
                cost_usd=entry.cost_usd,
                latency_ms=entry.latency_ms,
                success_rate=success_rate,
                load=load,
                weights=weights,
            ),
        )

    def rank(self, capability: str, *, exclude: Iterable[str] = ()) -> tuple[ArmStatus, ...]:
        """Return the available arms that offer `capability`, best first; equal scores go by name.

        An arm at its capacity comes after all that are not.
        """
        left_out = set(exclude)
        able = [
            self.status(name)
            for name, entry in self._entries.items()
            if capability in entry.capabilities and name not in left_out
        ]
        return tuple(sorted((arm for arm in able if arm.available), key=_merit))

    def order(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the same names, best first; those that may not be chosen now, or are not known, come last."""
        given = tuple(names)
        known = sorted((self.status(name) for name in given if name in self._entries), key=_merit)
        return (*(arm.name for arm in known), *(name for name in given if name not in self._entries))

    def best_for(self, capability: str, *, exclude: Iterable[str] = ()) -> str:
        """Return the name of the best available arm that offers `capability`.

        Args:
            capability: What is needed.
            exclude: Arms that were tried already.

        Raises:
            NoArmError: There is none.
        """
        ranked = self.rank(capability, exclude=exclude)
        if not ranked:
            offered = {c for name, each in self._entries.items() if not self._why_not(name) for c in each.capabilities}
            raise NoArmError(capability, offered=sorted(offered))
        return ranked[0].name

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    @property
    def names(self) -> tuple[str, ...]:
        """All arms, in the order in which they came."""
        return tuple(self._entries)

    def _entry(self, name: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise InputError(f"Unknown arm {name!r}.", remedy=f"Known: {', '.join(self._entries) or '(none)'}.")
        return entry


def _merit(arm: ArmStatus) -> tuple[bool, bool, float, str]:
    full = arm.capacity is not None and arm.in_flight >= arm.capacity
    return not arm.available, full, -arm.score, arm.name


def _estimated_cost(profile: WorkerProfile) -> float:
    return profile.cost_usd(*_TYPICAL_TOKENS)
