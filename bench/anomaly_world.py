"""Simulated workers with known faults: what is called normal varies, and what is wrong is not what training tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from orchestai.routing.anomaly.behaviour import Observation

TASK_TYPES = ("generation", "summarization", "translation", "classification")
_LENGTHS = (220.0, 90.0, 120.0, 12.0)
_PERSISTENCE = 0.97
_LOAD = 0.12


class SimulatedBehaviour(NamedTuple):
    """One worker as it is.

    Attributes:
        name: Its name.
        mix: Shares of the task types.
        latency_ms: Median time of an answer of 100 tokens.
        scatter: Deviation of the log latency, beside load and length.
        wordiness: Factor on the length of answers.
        failure: Share of failing calls.
        acceptance: Share of accepted answers by task type.
        usd: Dollars a token read and a token written.
    """

    name: str
    mix: tuple[float, ...]
    latency_ms: float
    scatter: float
    wordiness: float
    failure: float
    acceptance: tuple[float, ...]
    usd: tuple[float, float]


class Draw(NamedTuple):
    """What one call would be; a fault changes it."""

    latency: float
    length: float
    price: float
    failure: float
    acceptance: float


Fault = Callable[[Draw, int], Draw]

FAULTS: dict[str, Fault] = {
    "slower": lambda draw, _number: draw._replace(latency=1.8 * draw.latency),
    "failing": lambda draw, _number: draw._replace(failure=0.25),
    "truncated": lambda draw, _number: draw._replace(length=0.4 * draw.length),
    "wrong": lambda draw, _number: draw._replace(acceptance=draw.acceptance - 0.35),
    "cheaper_but_wrong": lambda draw, _number: draw._replace(
        price=0.6 * draw.price, latency=0.75 * draw.latency, acceptance=draw.acceptance - 0.3
    ),
    "drift": lambda draw, number: draw._replace(
        latency=draw.latency * 2.2 ** min(number / 300, 1.0), length=draw.length * 1.4 ** min(number / 300, 1.0)
    ),
}


def make_workers(count: int, seed: int) -> list[SimulatedBehaviour]:
    """Draw workers."""
    rng = np.random.default_rng(seed)
    return [
        SimulatedBehaviour(
            name=f"worker-{number}",
            mix=tuple(float(each) for each in rng.dirichlet(np.full(len(TASK_TYPES), 3.0))),
            latency_ms=float(np.exp(rng.uniform(np.log(150), np.log(4000)))),
            scatter=float(rng.uniform(0.15, 0.4)),
            wordiness=float(rng.uniform(0.6, 1.6)),
            failure=float(rng.uniform(0.002, 0.02)),
            acceptance=tuple(float(each) for each in rng.uniform(0.65, 0.98, len(TASK_TYPES))),
            usd=(float(rng.uniform(0.1, 3)) / 1e6, float(rng.uniform(0.4, 12)) / 1e6),
        )
        for number in range(count)
    ]


def stream(
    worker: SimulatedBehaviour, calls: int, seed: int, *, fault: str | None = None, onset: int = 0
) -> list[Observation]:
    """Return a worker's calls in order; its load wanders, so that neighbouring calls are alike.

    Args:
        worker: Who.
        calls: How many.
        seed: Equal seeds give equal calls.
        fault: What goes wrong.
        onset: From which call on.
    """
    rng = np.random.default_rng(seed)
    load, found = 0.0, []
    for number in range(calls):
        load = _PERSISTENCE * load + _LOAD * float(rng.normal()) * (1 - _PERSISTENCE**2) ** 0.5
        kind = int(rng.choice(len(TASK_TYPES), p=worker.mix))
        draw = Draw(worker.latency_ms, worker.wordiness * _LENGTHS[kind], 1.0, worker.failure, worker.acceptance[kind])
        if fault is not None and number >= onset:
            draw = FAULTS[fault](draw, number - onset)
        read = int(rng.integers(40, 600))
        written = max(1, round(draw.length * float(np.exp(rng.normal() * 0.45))))
        latency = draw.latency * (written / 100) ** 0.6 * float(np.exp(load + rng.normal() * worker.scatter))
        failed, accepted = bool(rng.random() < draw.failure), bool(rng.random() < draw.acceptance)
        found.append(
            Observation(
                worker=worker.name,
                task_type=TASK_TYPES[kind],
                calls=1,
                failures=int(failed),
                latency_ms=None if failed else latency,
                output_tokens=None if failed else written,
                cost_usd=None if failed else draw.price * (worker.usd[0] * read + worker.usd[1] * written),
                tokens=0 if failed else read + written,
                accepted=None if failed else accepted,
            )
        )
    return found
