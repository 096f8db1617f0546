"""Training the anomaly model: what is normal, an autoencoder of it, the threshold for a stated rate of false alarms.

Each worker's calls are taken in the order in which they came: the first 60 % teach, the next 20 % set thresholds and
choose between the scores, the last 20 % only measure. There are no labelled faults in a log, so the choice is made on
faults put into the validation calls (`spoil`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from orchestai.config.runtime import AnomalyConfig
from orchestai.errors import DataError
from orchestai.routing.anomaly.behaviour import FEATURES, USUAL, Expectations, Observation, features_of
from orchestai.routing.anomaly.model import METHODS, AnomalyModel, Detector, Layer

Array = npt.NDArray[np.float64]

_SIZES = (FEATURES, 8, 4, 8, FEATURES)
_NOISE = 0.1
_BATCH = 256
_LEAST_LIMIT = 1.5  # in usual deviations, for workers that never varied
_REST = 64
"""Calls after an alarm in which the next one belongs to it: the worker would be away."""
_TAIL = 0.7
_AIM = 0.4  # of the stated rate, which is to hold in nearly every world and not only in their mean
_FEWEST_MAXIMA = 40


class AnomalyTraining(NamedTuple):
    """What came of a training.

    Attributes:
        model: The model; its metrics are those of the held-out calls.
        calls: Calls by worker that was learned.
        too_few: Calls by worker with too few of them.
        history: Mean squared error of the autoencoder by epoch, on training and validation calls.
        scores: Scores of the validation calls, for plots.
    """

    model: AnomalyModel
    calls: dict[str, int]
    too_few: dict[str, int]
    history: dict[str, list[float]]
    scores: Array


def train_anomaly(seen: Sequence[Observation], config: AnomalyConfig) -> AnomalyTraining:
    """Learn what is normal from past calls, in the order in which they came.

    Args:
        seen: What happened.
        config: How much is needed, how often may be alarmed falsely, the autoencoder's training.

    Raises:
        DataError: No worker has enough calls.
    """
    streams: dict[str, list[Observation]] = {}
    for each in seen:
        streams.setdefault(each.worker, []).append(each)
    enough = {name: stream for name, stream in streams.items() if len(stream) >= config.min_calls}
    if not enough:
        most = max((len(stream) for stream in streams.values()), default=0)
        raise DataError(
            f"No worker has {config.min_calls} calls in the log; the most that one has is {most}.",
            remedy="Run more (`orchestai collect`), or lower engine.anomaly.min_calls.",
        )
    parts = {name: _parts(stream) for name, stream in enough.items()}
    expectations = Expectations.learn((each for part in parts.values() for each in part[0]), least=1)
    train, validation, test = (
        [features_of(part[place], expectations) for part in parts.values()] for place in range(3)
    )
    detector, history = _fit(np.concatenate(train), np.concatenate(validation), config)
    spoiled = [features_of(spoil(part[1], fault), expectations) for part in parts.values() for fault in FAULTS]
    detector, quality = _choose(detector, train, validation, spoiled, config.false_alarms_per_1000)
    held_out = [detector.score(stream) for stream in test]
    metrics = {
        "false_alarms_per_1000": 1000 * alarms(held_out, detector.threshold) / max(sum(map(len, held_out)), 1),
        "held_out_calls": float(sum(map(len, held_out))),
        "validation_calls": float(sum(map(len, validation))),
        "workers": float(len(enough)),
        "threshold": detector.threshold,
        **quality,
    }
    return AnomalyTraining(
        model=AnomalyModel(expectations, detector, metrics),
        calls={name: len(stream) for name, stream in enough.items()},
        too_few={name: len(stream) for name, stream in streams.items() if name not in enough},
        history=history,
        scores=np.concatenate([detector.score(stream) for stream in validation]),
    )


Fault = Callable[[Observation, int], Observation]


def _slower(seen: Observation, _number: int) -> Observation:
    return seen._replace(latency_ms=seen.latency_ms and 2.5 * seen.latency_ms)


def _failing(seen: Observation, number: int) -> Observation:
    if number % 3:
        return seen
    return seen._replace(failures=seen.calls, latency_ms=None, output_tokens=None, cost_usd=None, accepted=None)


def _cut_off(seen: Observation, _number: int) -> Observation:
    if seen.output_tokens is None:
        return seen
    kept = max(1, seen.output_tokens // 4)
    return seen._replace(output_tokens=kept, tokens=seen.tokens - seen.output_tokens + kept)


def _wrong(seen: Observation, number: int) -> Observation:
    return seen._replace(accepted=seen.accepted and number % 2 == 0)


def _dearer(seen: Observation, _number: int) -> Observation:
    return seen._replace(cost_usd=seen.cost_usd and 2 * seen.cost_usd)


def _drifting(seen: Observation, number: int) -> Observation:
    return seen._replace(latency_ms=seen.latency_ms and seen.latency_ms * (1 + number / 100))


FAULTS: Mapping[str, Fault] = {
    "slower": _slower,
    "failing": _failing,
    "cut_off": _cut_off,
    "wrong": _wrong,
    "dearer": _dearer,
    "drifting": _drifting,
}


def spoil(stream: Sequence[Observation], fault: str) -> list[Observation]:
    """Return the stream as it would be if the worker had a fault from the first call on."""
    change = FAULTS[fault]
    return [change(each, number) for number, each in enumerate(stream)]


def calibrated(scores: Sequence[Array], per_1000: float, *, learned: Sequence[Array] = ()) -> float:
    """Return a threshold that alarms at most `per_1000` times in 1,000 calls.

    Counting alone is coarse: a stated .5 is one alarm in 2,000 calls. So the tail counts as well: the highest scores
    of stretches of calls, of those that taught too, fall off exponentially in their logarithm beyond the upper
    third, and the threshold is where that meets `_AIM` of the stated rate. The higher of the two is taken.

    Args:
        scores: Of each worker on validation calls, in order.
        per_1000: Allowed alarms.
        learned: The same on the calls that taught.
    """
    return max(_counted(scores, per_1000), _by_tail([*learned, *scores], _AIM * per_1000))


def _by_tail(scores: Sequence[Array], per_1000: float) -> float:
    highest = np.array(
        [each[start : start + _REST].max() for each in scores for start in range(0, len(each) - _REST + 1, _REST)]
    )
    if len(highest) < _FEWEST_MAXIMA or highest.min() <= 0:
        return -np.inf
    logs = np.log(highest)
    level = float(np.quantile(logs, _TAIL))
    beyond = logs[logs > level] - level
    if not len(beyond):
        return -np.inf
    rarer = max((1 - _TAIL) / (per_1000 * _REST / 1000), 1.0)
    return float(np.exp(level + beyond.mean() * np.log(rarer)))


def _counted(scores: Sequence[Array], per_1000: float) -> float:
    """Return the least threshold that would have alarmed at most that often.

    It is a quantile of the scores, found by counting alarms instead of calls: the scores of neighbouring calls go
    together, and what disturbs people is alarms. Where there are too few calls to see the stated rate, no alarm is
    allowed at all and a tenth is added.
    """
    total = sum(map(len, scores))
    allowed = int(per_1000 * total / 1000)
    values = np.unique(np.concatenate(scores))
    if not allowed:
        return float(values[-1]) * 1.1
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        if alarms(scores, float(values[middle])) <= allowed:
            high = middle
        else:
            low = middle + 1
    return float(values[low])


def alarms(scores: Sequence[Array], threshold: float) -> int:
    """Count alarms; one is over after as many calls as a worker that was left alone would miss."""
    count = 0
    for stream in scores:
        place = 0
        for above in np.flatnonzero(stream > threshold):
            if above >= place:
                count += 1
                place = int(above) + _REST
    return count


def delays(spoiled: Sequence[Array], threshold: float) -> list[float]:
    """Return calls until the first alarm of each spoiled stream; its length where there was none."""
    found = []
    for stream in spoiled:
        above = np.flatnonzero(stream > threshold)
        found.append(float(above[0]) + 1 if len(above) else float(len(stream)))
    return found


def _parts(stream: Sequence[Observation]) -> tuple[Sequence[Observation], Sequence[Observation], Sequence[Observation]]:
    first, second = round(0.6 * len(stream)), round(0.8 * len(stream))
    return stream[:first], stream[first:second], stream[second:]


def _choose(
    detector: Detector,
    learned: Sequence[Array],
    normal: Sequence[Array],
    spoiled: Sequence[Array],
    per_1000: float,
) -> tuple[Detector, dict[str, float]]:
    """Calibrate each score alone and both together, and keep the one that is quickest on spoiled calls."""
    quality: dict[str, float] = {}
    alone = []
    for method in METHODS[:2]:
        single = replace(detector, method=method, limits=(1.0, 1.0))
        alone.append(max(_threshold(single, learned, normal, per_1000), _LEAST_LIMIT))
    candidates = []
    for method in METHODS:
        tried = replace(detector, method=method, limits=(alone[0], alone[1]))
        threshold = max(_threshold(tried, learned, normal, per_1000), 1.0)
        tried = replace(tried, threshold=threshold)
        waits = delays([tried.score(stream) for stream in spoiled], tried.threshold)
        quality[f"delay_{method}"] = float(np.mean(waits))
        candidates.append(tried)
    best = min(candidates, key=lambda each: quality[f"delay_{each.method}"])
    return best, quality


def _threshold(detector: Detector, learned: Sequence[Array], normal: Sequence[Array], per_1000: float) -> float:
    before, after = ([detector.score(stream) for stream in part] for part in (learned, normal))
    return calibrated(after, per_1000, learned=before)


def _fit(train: Array, validation: Array, config: AnomalyConfig) -> tuple[Detector, dict[str, list[float]]]:
    mean = train.mean(0)
    # Past calls without one failure must not make the first failure an alarm.
    scale = np.maximum(train.std(0), USUAL)
    x, y = (torch.tensor((part - mean) / scale, dtype=torch.float32) for part in (train, validation))
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    layers: list[torch.nn.Module] = []
    for size, after in itertools.pairwise(_SIZES):
        layers += [torch.nn.Linear(size, after), torch.nn.Tanh()]
    network = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate)
    history: dict[str, list[float]] = {"training": [], "validation": []}
    best, kept = float("inf"), {name: value.clone() for name, value in network.state_dict().items()}
    for _ in range(config.epochs):
        total = 0.0
        for rows in torch.randperm(len(x), generator=generator).split(_BATCH):
            batch = x[rows]
            noisy = batch + _NOISE * torch.randn(batch.shape, generator=generator)
            loss = (network(noisy) - batch).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        with torch.no_grad():
            now = float((network(y) - y).square().mean())
        history["training"].append(total / len(x))
        history["validation"].append(now)
        if now < best:
            best, kept = now, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)
    parts = [part for part in network if isinstance(part, torch.nn.Linear)]
    linear = tuple(
        Layer(part.weight.detach().numpy().T.astype(np.float64).copy(), part.bias.detach().numpy().astype(np.float64))
        for part in parts
    )
    return Detector(mean=mean, scale=scale, layers=linear), history
