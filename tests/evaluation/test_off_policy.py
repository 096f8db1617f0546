"""Off-policy estimates against values worked out by hand, against the truth of a small world, and without support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from orchestai.config import Project, load_project
from orchestai.contracts import Assignment, ExecutionResult, Instruction, Plan, SubtaskRecord, WorkflowGraph
from orchestai.contracts.graph import Subtask
from orchestai.errors import InputError
from orchestai.evaluation.off_policy import (
    LoggedChoice,
    LoggedExecution,
    SupportLimits,
    TargetPolicy,
    estimate,
    estimate_gain,
    read_logged,
)
from orchestai.evaluation.off_policy.intervals import empirical_bernstein, ratio_intervals
from orchestai.evaluation.off_policy.weights import effective_sample_size, support, wishes_of
from orchestai.logs import ExecutionLogRecord

QUALITY = {"easy": {"a": 0.9, "b": 0.8, "c": 0.3}, "hard": {"a": 0.2, "b": 0.6, "c": 0.5}}
LOGGING = {"a": 0.8, "b": 0.1, "c": 0.1}
ANY = SupportLimits(least_ess=1e-9, most_missing=0.99)


def always(worker: str) -> TargetPolicy:
    return lambda row: [{worker: 1.0} for _ in row.choices]


def row(name: str, worker: str, propensity: float | None, reward: float, kind: str = "easy") -> LoggedExecution:
    return LoggedExecution(name, (LoggedChoice(kind, worker, propensity),), reward, name)


def world(
    rng: np.random.Generator, size: int, *, subtasks: int = 1, claimed: Mapping[str, float] = LOGGING
) -> list[LoggedExecution]:
    rows = []
    for number in range(size):
        kinds = [("easy", "hard")[int(rng.random() < 0.5)] for _ in range(subtasks)]
        workers = [str(rng.choice(list(LOGGING), p=list(LOGGING.values()))) for _ in kinds]
        good = all(rng.random() < QUALITY[kind][worker] for kind, worker in zip(kinds, workers, strict=True))
        choices = tuple(LoggedChoice(k, w, claimed[w]) for k, w in zip(kinds, workers, strict=True))
        rows.append(LoggedExecution(str(number), choices, float(good), str(number)))
    return rows


def test_inverse_propensity_by_hand() -> None:
    """Target b: weights 0, 4, 4, 0; rewards 1, 1, 0, 1. IPS = 4 / 4 = 1, SNIPS = 4 / 8.

    Kish's size is 64 / 32 = 2; the propensities let expect a mean square of 4, so that 4 rows are worth 1.
    """
    rows = [row("1", "a", 0.75, 1), row("2", "b", 0.25, 1), row("3", "b", 0.25, 0), row("4", "a", 0.75, 1)]
    told = estimate(rows, always("b"), limits=ANY)
    assert told.ips is not None
    assert told.snips is not None
    assert told.ips[0] == pytest.approx(1.0)
    assert told.snips[0] == pytest.approx(0.5)
    assert told.ess == pytest.approx(1.0)
    assert told.mean_weight == pytest.approx(2.0)


def test_the_weight_of_an_execution_is_the_product_over_its_subtasks() -> None:
    rows = [
        LoggedExecution("1", (LoggedChoice("easy", "a", 0.5), LoggedChoice("hard", "b", 0.2)), 1.0, "1"),
        LoggedExecution("2", (LoggedChoice("easy", "a", 0.5), LoggedChoice("hard", "a", 0.8)), 1.0, "2"),
    ]
    policy: TargetPolicy = lambda _row: [{"a": 0.5, "b": 0.5}, {"b": 0.4, "a": 0.6}]  # noqa: E731
    assert support(rows, wishes_of(rows, policy)).weights == pytest.approx([2.0, 0.75])


@pytest.mark.parametrize("subtasks", [1, 2])
def test_estimates_find_the_truth_that_the_mean_of_the_log_misses(subtasks: int) -> None:
    """Truth of `always b`: mean of .8 and .6, to the power of the sub-tasks; the log itself earns much less."""
    truth = 0.7**subtasks
    rng = np.random.default_rng(3)
    held, found, logged = 0, [], []
    for _ in range(20):
        rows = world(rng, 500 if subtasks == 1 else 1500, subtasks=subtasks)
        told = estimate(rows, always("b"), limits=SupportLimits(least_ess=5))
        assert told.measurable, told.reason
        assert told.value is not None
        assert told.low is not None
        assert told.high is not None
        held += told.low <= truth <= told.high
        found.append(told.value)
        logged.append(np.mean([each.reward for each in rows]))
    assert held >= 17  # 19 expected
    assert np.mean(found) == pytest.approx(truth, abs=0.04)
    assert abs(np.mean(logged) - truth) > 0.1


def test_the_reward_model_narrows_the_interval() -> None:
    rows = world(np.random.default_rng(0), 3000)
    told = estimate(rows, always("b"))
    assert told.value is not None
    assert told.low is not None
    assert told.high is not None
    assert told.ips is not None
    assert told.high - told.low < 0.9 * (told.ips[2] - told.ips[1])


def test_a_gain_is_paired_and_of_the_right_sign() -> None:
    rows = world(np.random.default_rng(1), 3000)
    logged = sum(each.reward for each in rows) / len(rows)
    over_log = estimate_gain(rows, always("b"))
    assert over_log.low is not None
    assert over_log.low > 0
    assert over_log.value == pytest.approx(0.7 - logged, abs=0.06)
    against = estimate_gain(rows, always("c"), always("b"))
    assert against.high is not None
    assert against.high < 0
    nothing = estimate_gain(rows, always("b"), always("b"))
    assert (nothing.value, nothing.low, nothing.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("propensity", [None, 0.0, -0.1, 1.5])
def test_an_unusable_propensity_gives_no_number(propensity: float | None) -> None:
    rows = [row(str(number), "a", 0.5, 1.0) for number in range(100)] + [row("x", "a", propensity, 1.0)]
    told = estimate(rows, always("a"))
    assert (told.measurable, told.value, told.low, told.high, told.ips) == (False, None, None, None, None)
    assert "1 of 101" in told.reason


def test_a_policy_that_goes_where_the_log_never_went_gets_no_number() -> None:
    rows = world(np.random.default_rng(0), 1000)
    told = estimate(rows, always("new"))
    assert not told.measurable
    assert "100.0%" in told.reason
    assert "new for" in told.reason
    settled = [row(str(number), "a", 1.0, 1.0) for number in range(1000)]
    assert not estimate([*settled, *rows], always("b")).measurable, "propensity 1 excludes the others"
    assert estimate([*settled, *rows], always("a")).measurable


def test_a_little_of_the_unknown_widens_the_interval_by_as_much() -> None:
    rows = world(np.random.default_rng(0), 1000)
    mixed: TargetPolicy = lambda _row: [{"a": 0.995, "new": 0.005}]  # noqa: E731
    known: TargetPolicy = lambda _row: [{"a": 0.995, "b": 0.005}]  # noqa: E731
    wide, narrow = estimate(rows, mixed), estimate(rows, known)
    assert wide.low is not None
    assert narrow.low is not None
    assert wide.missing == pytest.approx(0.005)
    assert narrow.low - wide.low == pytest.approx(0.005, abs=0.004)


def test_few_executions_that_tell_give_no_number() -> None:
    told = estimate(world(np.random.default_rng(0), 100), always("b"))
    assert not told.measurable
    assert "50 are needed" in told.reason


def test_propensities_that_are_not_those_of_the_choices_are_noticed() -> None:
    rows = world(np.random.default_rng(0), 2000, claimed={"a": 0.4, "b": 0.3, "c": 0.3})
    told = estimate(rows, always("b"))
    assert not told.measurable
    assert "mean" in told.reason


def test_nothing_in_the_log_says_what_to_do() -> None:
    told = estimate([], always("a"))
    assert not told.measurable
    assert "routing.exploration" in told.reason


@pytest.mark.parametrize("given", [[{"a": 0.5}], [{"a": 1.5, "b": -0.5}], [{"a": 1.0}, {"a": 1.0}]])
def test_what_is_no_policy_is_refused(given: Sequence[Mapping[str, float]]) -> None:
    with pytest.raises(InputError):
        estimate([row("1", "a", 0.5, 1.0)], lambda _row: given)


def test_kish_sample_size() -> None:
    assert effective_sample_size(np.array([2.0, 2.0, 2.0])) == pytest.approx(3.0)
    assert effective_sample_size(np.array([10.0, 0.0, 0.0])) == pytest.approx(1.0)
    assert effective_sample_size(np.zeros(3)) == 0.0


def test_empirical_bernstein_by_hand() -> None:
    """Four values 0, 1, 0, 1: variance 1/3; sqrt(2/3 ln 80 / 4) + 7 ln 80 / 9."""
    told = empirical_bernstein(np.array([0.0, 1.0, 0.0, 1.0]), width=1.0)
    reach = (2 / 3 * np.log(80) / 4) ** 0.5 + 7 * np.log(80) / 9
    assert told.mean == pytest.approx(0.5)
    assert told.high - told.mean == pytest.approx(reach)


def test_groups_are_drawn_whole() -> None:
    values = np.repeat(np.random.default_rng(0).random(20), 50)
    ones = np.ones(1000)
    whole = ratio_intervals([(values, ones)], [str(number // 50) for number in range(1000)])[0]
    alone = ratio_intervals([(values, ones)], [str(number) for number in range(1000)])[0]
    assert whole.high - whole.low > 4 * (alone.high - alone.low)


@pytest.fixture(scope="module")
def project() -> Project:
    return load_project()


def record(
    project: Project, name: str, propensities: list[float | None], *, stood_in: bool = False
) -> ExecutionLogRecord:
    workers = ["smollm2-135m"] * len(propensities)
    graph = WorkflowGraph.chain(tuple(Subtask(task_type="generation", description="d") for _ in workers))
    plan = Plan(
        graph=graph,
        assignments=tuple(
            Assignment(worker=worker, propensity=chance) for worker, chance in zip(workers, propensities, strict=True)
        ),
        planner="rules",
    )
    done = tuple(
        SubtaskRecord(index=index, task_type="generation", worker="other" if stood_in else worker, status="done")
        for index, worker in enumerate(workers)
    )
    result = ExecutionResult(
        success=True, outputs={}, total_cost=0.0, total_latency_ms=1.0, execution_id=name, completed=True, subtasks=done
    )
    return ExecutionLogRecord.of(
        Instruction(text="x"), plan, result, tasks=project.tasks, workers=project.workers, source="live"
    )


def test_rows_of_the_log_are_those_whose_workers_were_drawn(project: Project) -> None:
    drawn, settled = record(project, "drawn", [0.98, 1.0]), record(project, "settled", [1.0, 1.0])
    found = read_logged([drawn, settled, record(project, "unknown", [0.98, None])])
    assert [each.id for each in found.rows] == ["drawn"]
    assert [choice.propensity for choice in found.rows[0].choices] == [0.98, 1.0]
    assert sorted(found.left_out.values()) == [1, 1]


def test_the_choice_is_the_planned_worker_even_where_another_stood_in(project: Project) -> None:
    (found,) = read_logged([record(project, "e", [0.5], stood_in=True)]).rows
    assert found.choices[0].worker == "smollm2-135m"
    assert found.choices[0].propensity == 0.5


def test_the_last_attempt_counts_once(project: Project) -> None:
    first = record(project, "e", [0.5])
    second = first.model_copy(update={"attempt": 2, "success": False})
    (found,) = read_logged([second, first]).rows
    assert found.reward == 0.0
