"""The search itself, over a training whose outcome is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestai.config import Phase1Config
from orchestai.errors import DataError, InputError, StorageError
from orchestai.training.search import RANGES, OnEpoch, Range, StudyResult, objective, search

GIVEN = Phase1Config(epochs=3, dropout=0.4)


def row(epoch: int, node: float, link: float) -> dict[str, Any]:
    return {"epoch": epoch, "metrics": {"node_f1": node, "link_f1": link}}


def less_dropout_is_better(recipe: Phase1Config, after: OnEpoch) -> tuple[list[dict[str, Any]], int]:
    """Three epochs, of which the second is kept."""
    best = 1 - recipe.dropout
    history = [row(1, best / 2, best / 2), row(2, best, best - 0.2), row(3, best, 0.0)]
    for each in history:
        after(each)
    return history, 2


def run(tmp_path: Path, train_once: Any = less_dropout_is_better, trials: int = 8, **more: Any) -> StudyResult:
    more.setdefault("given", GIVEN)
    more.setdefault("name", "s")
    return search(more.pop("given"), train_once, storage=tmp_path / "studies.sqlite", trials=trials, **more)


def test_the_objective_is_the_mean_of_both_scores() -> None:
    assert objective(row(1, 0.8, 0.4)) == pytest.approx(0.6)
    with pytest.raises(DataError, match="no validation plans"):
        objective({"epoch": 1, "metrics": {}})


def test_the_given_recipe_comes_first_and_the_best_one_is_found(tmp_path: Path) -> None:
    found = run(tmp_path)
    assert len(found.trials) == 8
    assert found.trials[0].numbers["dropout"] == 0.4
    assert found.given == pytest.approx(0.5)  # ((1 - .4) + (1 - .4 - .2)) / 2, at the kept epoch
    assert found.best.dropout < 0.4
    assert found.value == pytest.approx(0.9 - found.best.dropout)
    assert found.value == max(t.value for t in found.trials if t.state == "complete" and t.value is not None)
    assert found.best.patience == GIVEN.patience
    assert isinstance(found.best.batch_size, int)


def test_numbers_stay_in_their_ranges(tmp_path: Path) -> None:
    for trial in run(tmp_path, trials=10).trials:
        assert set(trial.numbers) == set(RANGES)
        for name, where in RANGES.items():
            value = trial.numbers[name]
            assert value in where.choices if where.choices else where.low <= value <= where.high


def test_a_study_goes_on_where_it_was(tmp_path: Path) -> None:
    first = run(tmp_path, trials=3)
    calls: list[float] = []

    def counted(recipe: Phase1Config, after: OnEpoch) -> tuple[list[dict[str, Any]], int]:
        calls.append(recipe.dropout)
        return less_dropout_is_better(recipe, after)

    second = run(tmp_path, counted, trials=5)
    assert len(calls) == 2
    assert second.trials[:3] == first.trials
    assert not set(calls) & {trial.numbers["dropout"] for trial in first.trials}
    assert run(tmp_path, counted, trials=5).trials == second.trials
    assert len(calls) == 2, "nothing was left to do"


def test_an_interrupted_trial_is_tried_again_first(tmp_path: Path) -> None:
    run(tmp_path, trials=2)
    cut: list[float] = []

    def interrupted(recipe: Phase1Config, after: OnEpoch) -> tuple[list[dict[str, Any]], int]:
        after(row(1, 0.5, 0.5))
        cut.append(recipe.dropout)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, interrupted, trials=3)
    found = run(tmp_path, trials=3)
    assert [trial.state for trial in found.trials] == ["complete"] * 3
    assert found.trials[-1].numbers["dropout"] == cut[0]


def test_trials_that_fall_behind_are_pruned(tmp_path: Path) -> None:
    ran: list[int] = []

    def worse_each_time(_recipe: Phase1Config, after: OnEpoch) -> tuple[list[dict[str, Any]], int]:
        value = 0.9 - 0.1 * len(ran)
        ran.append(0)
        for epoch in range(1, 11):
            ran[-1] = epoch
            after(row(epoch, value, value))
        return [row(10, value, value)], 10

    found = run(tmp_path, worse_each_time, trials=7)
    assert ran[:5] == [10] * 5, "the first ones are the measure of the others"
    assert all(epochs < 10 for epochs in ran[5:])
    assert [trial.state for trial in found.trials[5:]] == ["pruned", "pruned"]
    assert found.value == pytest.approx(0.9)


def test_the_time_ends_a_trial_too(tmp_path: Path) -> None:
    seconds = [0.0]
    epochs: list[int] = []

    def two_seconds_an_epoch(number: int, _row: dict[str, Any]) -> None:
        epochs.append(number)
        seconds[0] += 2

    found = run(tmp_path, trials=50, timeout_s=9, clock=lambda: seconds[0], on_epoch=two_seconds_an_epoch)
    assert epochs == [0, 0, 0, 1, 1], "the second trial ends after 10 seconds"
    assert len(found.trials) == 1
    assert len(run(tmp_path, trials=2).trials) == 2


def test_a_recipe_whose_loss_explodes_costs_one_trial(tmp_path: Path) -> None:
    def explodes(recipe: Phase1Config, after: OnEpoch) -> tuple[list[dict[str, Any]], int]:
        if recipe.dropout != GIVEN.dropout:
            raise DataError("The loss is nan in epoch 1, step 1.")
        return less_dropout_is_better(recipe, after)

    found = run(tmp_path, explodes, trials=3)
    assert [trial.state for trial in found.trials] == ["complete", "failed", "failed"]
    assert found.best.dropout == GIVEN.dropout


def test_bad_data_end_the_search(tmp_path: Path) -> None:
    def refuses(_recipe: Phase1Config, _after: OnEpoch) -> tuple[list[dict[str, Any]], int]:
        raise DataError("None of the 3 examples can be trained on.")

    with pytest.raises(DataError, match="None of the 3 examples"):
        run(tmp_path, refuses)


def test_two_searches_do_not_share_a_storage(tmp_path: Path) -> None:
    def nested(recipe: Phase1Config, after: OnEpoch) -> tuple[list[dict[str, Any]], int]:
        with pytest.raises(StorageError, match="Another process searches"):
            run(tmp_path, trials=1)
        return less_dropout_is_better(recipe, after)

    assert len(run(tmp_path, nested, trials=1).trials) == 1


def test_a_given_number_outside_its_range_begins_at_the_bound(tmp_path: Path) -> None:
    ranges = {"dropout": Range(0.0, 0.3), "batch_size": Range(choices=(16, 64))}
    found = run(tmp_path, trials=1, ranges=ranges, given=GIVEN.model_copy(update={"batch_size": 50}))
    assert found.trials[0].numbers == {"dropout": 0.3, "batch_size": 64}


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"timeout_s": 0.0}])
def test_nonsense_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="must be >"):
        run(tmp_path, **wrong)
