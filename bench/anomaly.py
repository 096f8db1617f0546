"""How soon a worker that goes bad is noticed, against simple detectors at the same rate of false alarms.

python -m bench.anomaly --out report.json [--seeds N] [--workers N] [--calls N]

Workers are simulated (`anomaly_world`); detectors learn from the same calls of well workers, and each has its
threshold from the same calls, by the same rule, at the stated rate of alarms in 1,000. Faults and false alarms are
measured on streams that nobody saw.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.anomaly_world import FAULTS, make_workers, stream
from bench.command import run_command
from bench.report import over_seeds, write_report
from orchestai.config import AnomalyConfig
from orchestai.evaluation.routing import auc
from orchestai.routing.anomaly.behaviour import MEASURES, RATES, Expectations, Observation, Trace, features_of
from orchestai.routing.anomaly.model import METHODS
from orchestai.training.anomaly import alarms, calibrated, train_anomaly

Array = npt.NDArray[np.float64]
Streams = list[Array]

_ONSET = 100
_FAULTY = 400
_SETTLED = 32
"""Calls after the onset from which on AUC counts a call as one of a bad worker."""


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    options = _parser().parse_args(argv)
    return run_command(lambda: run(options), print_summary)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure as `options` say and write the report.

    Raises:
        StorageError: The report cannot be written.
    """
    seeds = list(range(options.seed, options.seed + options.seeds))
    results = [_one_seed(options, seed) for seed in seeds]
    return write_report(
        options.out,
        bench="anomaly",
        data={
            "kind": "simulated workers",
            "workers": options.workers,
            "calls": options.calls,
            "false_alarms_per_1000_stated": options.false_alarms,
            "delay": f"calls from the onset to the alarm; {_FAULTY} where there was none",
        },
        sha256="simulated",
        seed=seeds[0] if len(seeds) == 1 else seeds,
        results=over_seeds(results),
    )


def print_summary(report: dict[str, Any]) -> None:
    """Print one line a method."""
    names = ("auc", "delay_mean", "detected", "false_alarms_per_1000")
    print(f"{'':20}" + "".join(f"{name:>24}" for name in names))
    for method, found in report["results"]["methods"].items():
        print(f"{method:20}" + "".join(f"{_shown(found[name]):>24}" for name in names))
    print(f"score of one call: {_shown(report['results']['score_us'])} microseconds")


def _one_seed(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    workers = make_workers(options.workers, seed)
    config = AnomalyConfig(seed=seed, false_alarms_per_1000=options.false_alarms)
    by_worker = [stream(worker, options.calls, 1000 * seed + number) for number, worker in enumerate(workers)]
    started = time.perf_counter()
    trained = train_anomaly([each for calls in by_worker for each in calls], config)
    seconds = time.perf_counter() - started
    expectations = trained.model.expectations
    part = options.calls * 3 // 5, options.calls * 4 // 5
    taught = [each[: part[0]] for each in by_worker]
    learned = np.concatenate([features_of(each, expectations) for each in taught])
    validation = [each[part[0] : part[1]] for each in by_worker]
    well = [stream(worker, options.calls, 7_000_000 + 1000 * seed + n) for n, worker in enumerate(workers)]
    sick = {
        fault: [
            stream(worker, _ONSET + _FAULTY, 9_000_000 + 1000 * seed + 10 * n + again, fault=fault, onset=_ONSET)
            for n, worker in enumerate(workers)
            for again in range(options.repeats)
        ]
        for fault in FAULTS
    }
    methods = {}
    for name, score in _scores(trained.model.detector, learned, expectations, seed).items():
        threshold = calibrated(
            [score(each) for each in validation], options.false_alarms, learned=[score(each) for each in taught]
        )
        methods[name] = _measured(score, threshold, well, sick)
    return {
        "methods": methods,
        "chosen": trained.model.detector.method,
        "train_seconds": seconds,
        "score_us": _score_us(trained.model.detector, expectations, by_worker[0]),
        "held_out": dict(trained.model.metrics),
    }


Score = Callable[[Sequence[Observation]], Array]


def _scores(detector: Any, learned: Array, expectations: Expectations, seed: int) -> dict[str, Score]:
    """Return every method as a function from a stream to a score a call."""
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=100, random_state=seed).fit(learned)
    # Limits of an EWMA chart: the deviation that the mean of independent surprises has (Roberts 1959).
    width = np.concatenate([np.full(len(MEASURES), (rate / (2 - rate)) ** 0.5) for rate in RATES])

    def of_features(score: Callable[[Array], Array]) -> Score:
        return lambda calls: score(features_of(calls, expectations))

    def single(calls: Sequence[Observation]) -> Array:
        found = [expectations.surprise(each) for each in calls]
        return np.array([float(np.nanmax(np.abs(each))) for each in found if each is not None])

    return {
        **{name: of_features(replace(detector, method=name).score) for name in METHODS},
        "chosen": of_features(detector.score),
        "isolation_forest": of_features(lambda features: -forest.score_samples(features)),
        "z_score": single,
        "ewma": of_features(lambda features: np.abs(features[:, : len(width)] / width).max(1)),
    }


def _measured(
    score: Score, threshold: float, well: list[list[Observation]], sick: dict[str, list[list[Observation]]]
) -> dict[str, Any]:
    quiet = [score(each) for each in well]
    normal = np.concatenate(quiet)
    faults = {}
    for fault, streams in sick.items():
        found = [score(each) for each in streams]
        bad = np.concatenate([each[_ONSET + _SETTLED :] for each in found])
        delays = []
        for each in found:
            above = np.flatnonzero(each[_ONSET:] > threshold)
            delays.append(float(above[0]) + 1 if len(above) else float(_FAULTY))
        faults[fault] = {
            "auc": auc(np.concatenate([normal, bad]), np.concatenate([np.zeros(len(normal)), np.ones(len(bad))])),
            "delay_mean": float(np.mean(delays)),
            "delay_p50": float(np.median(delays)),
            "detected": float(np.mean([each < _FAULTY for each in delays])),
        }
    means = {key: float(np.mean([each[key] for each in faults.values()])) for key in ("auc", "delay_mean", "detected")}
    return {**means, "false_alarms_per_1000": 1000 * alarms(quiet, threshold) / len(normal), "faults": faults}


def _score_us(detector: Any, expectations: Expectations, calls: Sequence[Observation]) -> float:
    """Mean CPU time to take one call in and score it, the 5,000 calls after the first 500."""
    trace = Trace()
    chosen = [calls[place % len(calls)] for place in range(5500)]
    started = 0.0
    for place, each in enumerate(chosen):
        if place == 500:
            started = time.thread_time()
        surprise = expectations.surprise(each)
        if surprise is not None:
            float(detector.score(np.array(trace.add(surprise))))
    return 1e6 * (time.thread_time() - started) / 5000


def _shown(value: Any) -> str:
    return f"{value['mean']:.3f} ± {value['std']:.3f}" if isinstance(value, dict) else f"{value:.3f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.anomaly", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="report to write")
    parser.add_argument("--seeds", type=int, default=1, help="worlds to draw")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=6, help="workers in a world")
    parser.add_argument("--calls", type=int, default=3000, help="logged calls a worker")
    parser.add_argument("--repeats", type=int, default=3, help="streams a worker and fault")
    parser.add_argument("--false-alarms", type=float, default=0.5, help="stated alarms in 1,000 calls")
    return parser


if __name__ == "__main__":
    sys.exit(main())
