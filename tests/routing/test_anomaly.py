"""The summary of a worker's behaviour, its score, the threshold, and what the watch makes of them."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import pytest

from bench.anomaly_world import FAULTS, make_workers, stream
from orchestai.config import AnomalyConfig, BreakerConfig
from orchestai.contracts import (
    AcceptanceCheck,
    CheckResult,
    ExecutionResult,
    SubtaskRecord,
    WorkerOutput,
    WorkerRequest,
)
from orchestai.contracts.catalog import Modality
from orchestai.errors import CheckpointError
from orchestai.routing.anomaly.behaviour import (
    FAILURES,
    LATENCY,
    LENGTH,
    PRICE,
    REJECTED,
    Expectations,
    Observation,
    Trace,
    features_of,
    observe,
)
from orchestai.routing.anomaly.store import load_anomaly, save_anomaly
from orchestai.routing.anomaly.watch import BehaviourWatch
from orchestai.training.anomaly import AnomalyTraining, alarms, calibrated, train_anomaly
from orchestai.workers.breaker import BreakerState, CircuitBreaker

WORLD = make_workers(3, seed=42)
NAME = WORLD[0].name
NOW = [0.0]


def seen(**changes: object) -> Observation:
    base = Observation(NAME, "generation", 1, 0, 100.0, 50, 1e-4, 100, True)
    return base._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained() -> AnomalyTraining:
    calls = [each for number, worker in enumerate(WORLD) for each in stream(worker, 1000, seed=number)]
    return train_anomaly(calls, AnomalyConfig(epochs=10))


def test_a_record_is_read_as_what_it_shows() -> None:
    record = SubtaskRecord(
        index=0, task_type="t", worker="w", status="done", attempts=1, input_tokens=10, output_tokens=5, latency_ms=7.0
    )
    assert observe(record, accepted=False) == Observation("w", "t", 1, 0, 7.0, 5, None, 15, False)
    retried = observe(record.model_copy(update={"attempts": 3}))
    assert retried is not None
    assert (retried.failures, retried.latency_ms) == (2, None), "the time of three calls is nobody's latency"
    failed = observe(record.model_copy(update={"status": "failed", "attempts": 2}), accepted=False)
    assert failed is not None
    assert (failed.failures, failed.accepted) == (2, None)
    assert observe(record.model_copy(update={"attempts": 0})) is None
    assert observe(record.model_dump(), accepted=True) == Observation("w", "t", 1, 0, 7.0, 5, None, 15, True)


def test_surprise_is_in_deviations_of_what_was_learned() -> None:
    """Latencies e^4 and e^6 in equal shares: mean 5, deviation 1; e^7 is 2 deviations above."""
    calls = [seen(latency_ms=math.exp(4 + 2 * (number % 2)), output_tokens=None) for number in range(1000)]
    expectations = Expectations.learn(calls, least=10)
    told = expectations.surprise(seen(latency_ms=math.exp(7), output_tokens=None))
    assert told is not None
    assert told[LATENCY] == pytest.approx(2.0, abs=0.02)
    assert math.isnan(told[LENGTH])
    assert told[FAILURES] < 0
    assert expectations.surprise(seen(worker="stranger")) is None


@pytest.mark.parametrize(
    ("change", "measure", "sign"),
    [
        ({"latency_ms": 300.0}, LATENCY, 1),
        ({"output_tokens": 5, "latency_ms": None}, LENGTH, -1),
        ({"cost_usd": 2e-4}, PRICE, 1),
        ({"accepted": False}, REJECTED, 1),
        ({"failures": 1, "latency_ms": None}, FAILURES, 1),
    ],
)
def test_each_measure_has_its_own_surprise(change: dict[str, object], measure: int, sign: int) -> None:
    told = Expectations.learn([seen() for _ in range(100)], least=10).surprise(seen(**change))
    assert told is not None
    assert sign * told[measure] > 1


def test_a_long_answer_may_take_long() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(10, 1000, 500)
    calls = [seen(output_tokens=int(n), latency_ms=float(10 * n * math.exp(rng.normal() * 0.1))) for n in lengths]
    expectations = Expectations.learn(calls, least=10)
    long, slow = (expectations.surprise(seen(output_tokens=n, latency_ms=9000.0)) for n in (900, 100))
    assert long is not None
    assert slow is not None
    assert abs(long[LATENCY]) < 2.5
    assert slow[LATENCY] > 5


def test_the_trace_is_an_exponential_mean_that_ignores_the_unknown() -> None:
    trace = Trace()
    first = trace.add((8.0, math.nan, 0.0, 0.0, 0.0))
    assert first[LATENCY] == pytest.approx(1.0)
    assert first[5 + LATENCY] == pytest.approx(0.25)
    assert first[FAILURES] == 0.0
    assert trace.add((8.0, math.nan, 0.0, 0.0, 0.0))[LATENCY] == pytest.approx(1.875)
    trace.reset()
    assert trace.add((0.0,) * 5)[LATENCY] == 0.0


def test_the_threshold_keeps_to_the_stated_rate() -> None:
    """Ten separate peaks in 10,000 calls: 0.5 in 1,000 allows five of them."""
    scores = np.zeros(10_000)
    scores[500::1000] = np.arange(1, 11)
    threshold = calibrated([scores], per_1000=0.5)
    assert threshold == 5.0
    assert alarms([scores], threshold) == 5
    assert calibrated([scores[:1000]], per_1000=0.5) == pytest.approx(1.1), "too few calls: nothing is allowed"


def test_a_tail_reaches_beyond_what_was_counted() -> None:
    """Peaks every 64 calls whose logarithm is exponential: the threshold is where the tail says, by hand."""
    rng = np.random.default_rng(3)
    calls = 64 * 400
    heights = np.exp(0.2 * rng.exponential(size=400))
    scores = np.full(calls, 0.5)
    scores[10::64] = heights
    found = calibrated([scores], per_1000=0.5)
    # .4 of .5 in 1,000 calls is .0128 a stretch of 64; P(height > t) = t ** (-1 / .2).
    assert found == pytest.approx(0.0128**-0.2, rel=0.1)
    assert alarms([scores], found) < 0.5 * calls / 1000
    few = scores[: 64 * 20]
    assert calibrated([few], per_1000=0.5) == pytest.approx(1.1 * few.max()), "twenty stretches show no tail"
    assert calibrated([few], per_1000=0.5, learned=[scores]) == pytest.approx(found, rel=0.05)


def test_neighbouring_calls_are_one_alarm() -> None:
    assert alarms([np.array([0.0, 2.0, 2.0, 0.0, 2.0] + [0.0] * 100 + [2.0])], 1.0) == 2


def test_well_workers_are_left_alone_and_bad_ones_are_noticed(trained: AnomalyTraining) -> None:
    detector, expectations = trained.model.detector, trained.model.expectations
    well = [detector.score(features_of(stream(each, 1000, seed=900 + n), expectations)) for n, each in enumerate(WORLD)]
    assert alarms(well, detector.threshold) <= 6
    for fault in FAULTS:
        bad = detector.score(features_of(stream(WORLD[0], 500, seed=7, fault=fault, onset=100), expectations))
        above = np.flatnonzero(bad[100:] > detector.threshold)
        assert len(above), fault
        assert above[0] < 350, fault


def test_one_failure_of_a_worker_that_never_failed_is_no_alarm() -> None:
    """All past calls alike: nothing varies, and yet one bad call is only one."""
    found = train_anomaly([seen() for _ in range(500)], AnomalyConfig(epochs=2))
    detector, trace = found.model.detector, Trace()
    failed = found.model.expectations.surprise(seen(failures=1, latency_ms=None, output_tokens=None, cost_usd=None))
    usual = found.model.expectations.surprise(seen())
    assert failed is not None
    assert usual is not None
    for _ in range(100):
        trace.add(usual)
    scores = [float(detector.score(np.array(trace.add(failed)))) / detector.threshold for _ in range(8)]
    assert scores[0] < 1 < scores[-1]


def test_a_saved_model_scores_the_same(trained: AnomalyTraining, tmp_path: Path) -> None:
    save_anomaly(trained.model, tmp_path / "anomaly")
    again = load_anomaly(tmp_path / "anomaly")
    features = features_of(stream(WORLD[1], 50, seed=3), trained.model.expectations)
    np.testing.assert_array_equal(again.detector.score(features), trained.model.detector.score(features))
    assert again.expectations.workers == trained.model.expectations.workers
    weights = tmp_path / "anomaly" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match="sha256"):
        load_anomaly(tmp_path / "anomaly")


class Bench:
    """A watch over one worker with a breaker at a clock of the test's."""

    def __init__(self, trained: AnomalyTraining, *, replaceable: bool = True, **config: object) -> None:
        self.now = 0.0
        breakers = BreakerConfig(open_s=10.0)
        self.breaker = CircuitBreaker(NAME, breakers, clock=lambda: self.now)
        self.watch = BehaviourWatch(
            trained.model,
            AnomalyConfig.model_validate(config),
            breakers,
            breaker_of=lambda _name: self.breaker,
            replaceable=lambda _worker, _kind: replaceable,
        )

    def feed(self, fault: str, calls: int = 400, seed: int = 5) -> int:
        """Return how many calls it took until the worker was away, or all."""
        for number, each in enumerate(stream(WORLD[0], calls, seed, fault=fault)):
            self.watch.ended(record_of(each))
            if self.breaker.state is not BreakerState.CLOSED:
                return number + 1
        return calls


def record_of(each: Observation) -> SubtaskRecord:
    return SubtaskRecord(
        index=0,
        task_type=each.task_type,
        worker=each.worker,
        status="failed" if each.failures else "done",
        attempts=1,
        input_tokens=each.tokens - (each.output_tokens or 0),
        output_tokens=each.output_tokens or 0,
        cost_usd=each.cost_usd or 0.0,
        latency_ms=each.latency_ms or 0.0,
    )


def test_the_time_away_doubles_and_has_an_end(trained: AnomalyTraining, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(trained, longest_open_s=30.0)
    waits = []
    for number in range(4):
        assert bench.feed("failing", seed=number) < 100
        assert bench.watch.readings()[0].away
        assert bench.watch.ended(record_of(seen())) is None, "what comes late does not count"
        waits.append(bench.breaker.snapshot().retry_after_s)
        bench.now += waits[-1]
        bench.breaker.admit().succeeded()
        assert not bench.watch.readings()[0].away
    assert waits == [10.0, 20.0, 30.0, 30.0]
    assert caplog.text.count("unusual failures") == 4
    assert bench.watch.readings()[0].alarms == 4


def test_rejected_answers_alone_send_a_worker_away(trained: AnomalyTraining) -> None:
    bench = Bench(trained)
    record = record_of(seen())
    check = AcceptanceCheck(kind="contains", value="x")
    for _ in range(60):
        result = ExecutionResult(
            success=False,
            outputs={},
            total_cost=0.0,
            total_latency_ms=1.0,
            execution_id="e",
            completed=True,
            checks=(CheckResult(check=check, held=False),),
            subtasks=(record,),
        )
        bench.watch.judged(result)
    assert "unusual rejected answers" in (bench.breaker.snapshot().reason or "")


def test_without_intervention_or_replacement_it_is_only_told(
    trained: AnomalyTraining, caplog: pytest.LogCaptureFixture
) -> None:
    told = Bench(trained, intervene=False)
    assert told.feed("failing") == 400
    assert "only alerted" in caplog.text
    assert 1 <= told.watch.readings()[0].alarms <= 400 / 64 + 1
    assert Bench(trained, replaceable=False).feed("failing") == 400


@pytest.mark.parametrize(
    ("took", "tokens", "passes"), [(1.0, 1.0, True), (0.1, 1.0, True), (30.0, 1.0, False), (1.0, 0.01, False)]
)
def test_a_probe_must_be_as_usual(
    trained: AnomalyTraining, caplog: pytest.LogCaptureFixture, took: float, tokens: float, passes: bool
) -> None:
    caplog.set_level(logging.ERROR)
    bench = Bench(trained)
    length = round(WORLD[0].wordiness * 220)
    request = WorkerRequest(task_type="generation", modality=Modality.CHAT, prompt="p", max_output_tokens=9)
    output = WorkerOutput(content="x", metadata={"input_tokens": 100, "output_tokens": max(1, round(length * tokens))})
    usual_ms = WORLD[0].latency_ms * (length / 100) ** 0.6

    def probe() -> bool:
        return bench.watch.passes(request, output, worker=NAME, took_ms=usual_ms * took)

    assert probe(), "its breaker did not open for its behaviour"
    bench.feed("failing")
    assert probe() is passes
