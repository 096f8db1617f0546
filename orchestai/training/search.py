"""Search for the numbers of the Phase 1 recipe, on validation plans alone.

The objective is declared: the mean of node F1 and link F1 over the validation plans, at the epoch that the
training keeps. Trials that fall behind the median of the earlier ones are stopped (median pruning; Golovin et
al., KDD 2017), the next numbers come from a tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011).
The first trial is the recipe that was given, so that a study always says what its best is better than.
"""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestai.config import Phase1Config
from orchestai.errors import DataError, InputError, StorageError

if TYPE_CHECKING:
    import optuna

OBJECTIVE = "mean of node F1 and link F1 on the validation plans, at the kept epoch"
STARTUP_TRIALS = 5
"""Trials at random before the estimator has something to estimate from; none of them is pruned."""

_log = logging.getLogger(__name__)


class Range(NamedTuple):
    """Where a number is searched: between two bounds (`log`: by its order of magnitude), or among choices."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[float, ...] = ()


RANGES: dict[str, Range] = {
    "learning_rate": Range(2e-5, 5e-4, log=True),
    "batch_size": Range(choices=(16, 32, 64)),
    "lambda_dag": Range(0.05, 1.0, log=True),
    "weight_decay": Range(1e-3, 0.3, log=True),
    "dropout": Range(0.0, 0.4),
    "grad_clip": Range(0.3, 3.0, log=True),
}
"""Fields of `Phase1Config` that are searched; the others stay as given."""


class Trial(NamedTuple):
    """One trial that ended.

    Attributes:
        number: From 0, in the order of starting.
        state: `complete`, `pruned` or `failed`.
        value: The objective; of a pruned trial, at its last epoch; None for a failed one.
        numbers: What was tried.
        epochs: Epochs that it ran.
    """

    number: int
    state: str
    value: float | None
    numbers: dict[str, float]
    epochs: int


class StudyResult(NamedTuple):
    """What a search found.

    Attributes:
        best: The recipe of the best complete trial.
        value: Its objective, 0..1.
        given: The objective of the recipe that the search began with; None if that trial did not complete.
        trials: All that ended, this call's and earlier ones.
    """

    best: Phase1Config
    value: float
    given: float | None
    trials: list[Trial]


OnEpoch = Callable[[dict[str, Any]], None]
TrainOnce = Callable[[Phase1Config, OnEpoch], tuple[list[dict[str, Any]], int]]
"""Trains a recipe, calls back after each epoch; returns the history and the epoch that was kept."""


class _OutOfTimeError(Exception):
    """The time is over in the midst of a trial."""


def objective(row: Mapping[str, Any]) -> float:
    """Return what is searched for, of one row of a training's history.

    Raises:
        DataError: The training had no validation plans to measure.
    """
    metrics = row["metrics"]
    if "node_f1" not in metrics or "link_f1" not in metrics:
        raise DataError("There are no validation plans to search on.", remedy="Give data with a validation split.")
    return (float(metrics["node_f1"]) + float(metrics["link_f1"])) / 2


def search(
    given: Phase1Config,
    train_once: TrainOnce,
    *,
    storage: Path,
    name: str,
    trials: int,
    timeout_s: float | None = None,
    ranges: Mapping[str, Range] = RANGES,
    on_epoch: Callable[[int, dict[str, Any]], None] | None = None,
    on_trial: Callable[[Trial, float | None], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> StudyResult:
    """Try recipes until the study has `trials` of them, or the time is over.

    A study goes on where it was: what is there counts. A trial that was cut off, by a kill or by the time,
    is tried again first.

    Args:
        given: The recipe to begin with; what is not in `ranges` stays.
        train_once: Trains a recipe.
        storage: SQLite file of the studies.
        name: Of the study; another name is another study.
        trials: Trials that the study shall have in all.
        timeout_s: Seconds after which the search ends, also within a trial; None for no limit.
        ranges: What is searched.
        on_epoch: Called with the trial's number and each row of its history.
        on_trial: Called with each trial that ended and the best objective so far.
        clock: Monotonic seconds.

    Raises:
        InputError: `trials` or `timeout_s` makes no sense.
        DataError: No trial completed, or there are no validation plans.
        StorageError: Another process is searching in the same storage.
    """
    if trials < 1:
        raise InputError(f"`trials` must be >= 1, got {trials}.")
    if timeout_s is not None and timeout_s <= 0:
        raise InputError(f"`timeout` must be > 0 seconds, got {timeout_s:g}.")
    ends = float("inf") if timeout_s is None else clock() + timeout_s
    with _alone(storage), _study(storage, name, given.seed) as study:
        _take_up(study, given, ranges)
        while len(found := _ended(study)) < trials and clock() < ends:
            trial = study.ask()
            recipe = given.model_copy(update={key: _suggest(trial, key, where) for key, where in ranges.items()})
            try:
                ended = _run(study, trial, recipe, train_once, on_epoch, lambda: clock() >= ends)
            except _OutOfTimeError:
                break
            if ended and on_trial:
                on_trial(_ended(study)[-1], _best_value(study))
        return _result(given, study, found)


def _run(
    study: optuna.Study,
    trial: optuna.Trial,
    recipe: Phase1Config,
    train_once: TrainOnce,
    on_epoch: Callable[[int, dict[str, Any]], None] | None,
    over: Callable[[], bool],
) -> bool:
    """Run one trial to its end and note it; a trial that is cut off is noted as failed and queued again."""
    import optuna

    def after(row: dict[str, Any]) -> None:
        trial.report(objective(row), row["epoch"])
        if on_epoch:
            on_epoch(trial.number, row)
        if over():
            raise _OutOfTimeError
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        history, kept = train_once(recipe, after)
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    except DataError as error:
        if "loss" not in str(error):  # data that no recipe can be trained on
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        _log.warning("Trial %d failed: %s", trial.number, error)
        trial.set_user_attr("error", str(error))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    except BaseException:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params, skip_if_exists=False)
        raise
    else:
        study.tell(trial, objective(next(row for row in history if row["epoch"] == kept)))
    return True


def _suggest(trial: optuna.Trial, name: str, where: Range) -> float:
    if where.choices:
        return trial.suggest_categorical(name, where.choices)
    return trial.suggest_float(name, where.low, where.high, log=where.log)


def _take_up(study: optuna.Study, given: Phase1Config, ranges: Mapping[str, Range]) -> None:
    """Begin with the given recipe, or with what a killed process left half done."""
    import optuna

    if not study.trials:
        numbers = {name: getattr(given, name) for name in ranges}
        study.enqueue_trial({name: _within(ranges[name], value) for name, value in numbers.items()})
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        # The lock is ours, so whoever ran it is gone.
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)


def _within(where: Range, value: float) -> float:
    if where.choices:
        return min(where.choices, key=lambda choice: abs(choice - value))
    return min(max(value, where.low), where.high)


def _ended(study: optuna.Study) -> list[Trial]:
    """Return the trials that say something: complete, pruned, or failed by their own numbers."""
    import optuna

    states = {
        optuna.trial.TrialState.COMPLETE: "complete",
        optuna.trial.TrialState.PRUNED: "pruned",
        optuna.trial.TrialState.FAIL: "failed",
    }
    return [
        Trial(trial.number, states[trial.state], _value(trial), dict(trial.params), len(trial.intermediate_values))
        for trial in study.trials
        if trial.state in states and (states[trial.state] != "failed" or "error" in trial.user_attrs)
    ]


def _value(trial: optuna.trial.FrozenTrial) -> float | None:
    if trial.value is not None:
        return float(trial.value)
    last = trial.last_step
    return None if last is None else float(trial.intermediate_values[last])


def _best_value(study: optuna.Study) -> float | None:
    values = [trial.value for trial in study.trials if trial.state.name == "COMPLETE" and trial.value is not None]
    return max(values, default=None)


def _result(given: Phase1Config, study: optuna.Study, found: list[Trial]) -> StudyResult:
    complete = [trial for trial in found if trial.state == "complete" and trial.value is not None]
    if not complete:
        raise DataError(
            f"None of the {len(found)} trials came to its end.", remedy="Give more time, or fewer epochs a trial."
        )
    best = max(complete, key=lambda trial: trial.value or 0.0)
    first = study.trials[0].params
    given_value = next((trial.value for trial in complete if trial.numbers == first), None)
    recipe = given.model_validate({**given.model_dump(), **best.numbers})
    return StudyResult(recipe, best.value or 0.0, given_value, found)


@contextmanager
def _study(storage: Path, name: str, seed: int) -> Iterator[optuna.Study]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    database = optuna.storages.RDBStorage(f"sqlite:///{storage}")
    try:
        study = optuna.create_study(
            storage=database,
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=2),
        )
        # Another seed a call: a resumed study must not draw the numbers of its first trials again.
        study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), n_startup_trials=STARTUP_TRIALS)
        yield study
    finally:
        database.remove_session()
        database.engine.dispose()


@contextmanager
def _alone(storage: Path) -> Iterator[None]:
    """Hold the storage; the kernel lets go of the lock when the process ends, however it ends."""
    try:
        storage.parent.mkdir(parents=True, exist_ok=True)
        file = storage.with_name(f"{storage.name}.lock").open("w")
    except OSError as error:
        raise StorageError(
            f"{storage} cannot be written: {error.strerror}.", path=str(storage), remedy="Check its permissions."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"Another process searches in {storage}.", path=str(storage), remedy="Wait for it, or stop it."
            ) from error
        yield
