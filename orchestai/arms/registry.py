"""Who there is, what they can do, how busy they are, and who is best for a task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from orchestai.config import ScoringConfig
from orchestai.contracts import Worker, WorkerProfile
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
    worker: Worker
    capabilities: frozenset[str]
    capacity: int | None
    cost_usd: float
    latency_ms: float
    available: bool = True
    reason: str | None = None
    in_flight: int = 0
    calls: int = 0
    successes: int = 0
    observed: bool = False


class ArmRegistry:
    """Arms and workers by capability. Not thread safe: one event loop owns it.

    Args:
        weights: What counts how much in a score.
    """

    def __init__(self, weights: ScoringConfig | None = None) -> None:
        self._weights = weights or ScoringConfig()
        self._entries: dict[str, _Entry] = {}

    def register(self, worker: Worker, capabilities: Iterable[str], *, capacity: int | None = None) -> None:
        """Add an arm.

        Args:
            worker: The arm.
            capabilities: What it can do.
            capacity: Calls at a time; null takes the profile's `max_concurrency`.

        Raises:
            InputError: The name is taken, or it can do nothing.
        """
        profile = worker.profile
        offered = frozenset(capabilities)
        if profile.name in self._entries:
            raise InputError(f"The arm {profile.name!r} is registered already.", remedy="Give it another name.")
        if not offered:
            raise InputError(f"The arm {profile.name!r} has no capability.", remedy="Name at least one.")
        self._entries[profile.name] = _Entry(
            worker=worker,
            capabilities=offered,
            capacity=capacity if capacity is not None else profile.max_concurrency,
            cost_usd=_estimated_cost(profile),
            latency_ms=profile.typical_latency_ms,
        )

    def unregister(self, name: str) -> None:
        """Take an arm out; its running calls go on."""
        self._entry(name)
        del self._entries[name]

    def set_available(self, name: str, available: bool, reason: str | None = None) -> None:
        """Let an arm be chosen, or not: a breaker opens, a sandbox is missing, an anomaly was seen."""
        entry = self._entry(name)
        entry.available, entry.reason = available, None if available else reason

    @contextmanager
    def in_use(self, name: str) -> Iterator[Worker]:
        """Count a call as load while it runs."""
        entry = self._entry(name)
        entry.in_flight += 1
        try:
            yield entry.worker
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
        return ArmStatus(
            name=name,
            capabilities=entry.capabilities,
            available=entry.available,
            reason=entry.reason,
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
            if entry.available and capability in entry.capabilities and name not in left_out
        ]
        return tuple(sorted(able, key=lambda arm: (_is_full(arm), -arm.score, arm.name)))

    def best_for(self, capability: str, *, exclude: Iterable[str] = ()) -> Worker:
        """Return the best available arm that offers `capability`.

        Args:
            capability: What is needed.
            exclude: Arms that were tried already.

        Raises:
            NoArmError: There is none.
        """
        ranked = self.rank(capability, exclude=exclude)
        if not ranked:
            offered = {c for entry in self._entries.values() if entry.available for c in entry.capabilities}
            raise NoArmError(capability, offered=sorted(offered))
        return self._entries[ranked[0].name].worker

    def __getitem__(self, name: str) -> Worker:
        """Return the arm called `name`, as the engine looks workers up.

        Raises:
            InputError: There is none.
        """
        return self._entry(name).worker

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


def _is_full(arm: ArmStatus) -> bool:
    return arm.capacity is not None and arm.in_flight >= arm.capacity


def _estimated_cost(profile: WorkerProfile) -> float:
    return profile.cost_usd(*_TYPICAL_TOKENS)
