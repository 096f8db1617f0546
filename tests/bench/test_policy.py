"""The benchmark of Phase 2 on small folders: keys, held-out questions, times of real calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import policy, policy_runs
from bench.policy_data import ASSUMED, endpoint_of, read_shapes, with_times
from bench.routing_data import read_source
from tests.bench.test_routing import llmrouter


def test_the_report_has_what_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test folder repeats 30 training questions, which leave it; nothing else lies beside the folders."""
    train = llmrouter(tmp_path / "train", rows=200)
    test = llmrouter(tmp_path / "test", rows=150, name="test.json", start=170)
    (tmp_path / "phase2.yml").write_text("updates: 3\nworkflows: 64\nvalidate_every: 1\n", encoding="utf-8")
    for name, count in (("TRAINING", 400), ("VALIDATION", 200), ("TEST", 600)):
        monkeypatch.setattr(policy_runs, name, count)
    out = tmp_path / "report.json"
    command = ["--train", str(train), "--test", str(test), "--out", str(out), "--seeds", "2"]
    assert policy.main([*command, "--config", str(tmp_path / "phase2.yml")]) == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["data"]["rows"] == {"train": 200, "test": 120, "dropped_duplicates": 30}
    assert report["data"]["times"] == "assumed"
    results = report["results"]
    for key in ("reward", "success", "cost", "latency"):
        assert set(results[key]) == {"ppo", "supervised_argmax", "greedy", "settled", "best_single", "oracle"}
        assert all(set(value) == {"mean", "std"} for value in results[key].values())
    reward = {name: value["mean"] for name, value in results["reward"].items()}
    assert reward["oracle"] > max(value for name, value in reward.items() if name != "oracle")
    assert reward["greedy"] > reward["best_single"]  # two kinds, two specialists
    assert reward["ppo"] > reward["best_single"]
    for name, gain in results["gain"].items():
        assert gain["mean"]["mean"] == pytest.approx(reward["ppo"] - reward[name], abs=1e-4)
    assert set(results["targets"]) >= {"routing_accuracy", "task_success", "completion_time", "outcome_prediction"}
    predicted = results["outcome_prediction"]
    assert predicted["accuracy"] > predicted["majority_class"]
    assert results["verdict"]["summary"] in capsys.readouterr().out


def test_a_reward_without_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = llmrouter(tmp_path / "train", rows=20)
    command = ["--train", str(folder), "--test", str(tmp_path / "none"), "--out", str(tmp_path / "r.json")]
    assert policy.main(command) == 2
    assert "error" in capsys.readouterr().err


def judged(mean: float, low: float, high: float, *seeds: float) -> dict[str, Any]:
    gain = {"mean": mean, "low": low, "high": high}
    names = ("supervised_argmax", "greedy", "settled")
    return policy.verdict({"gain": dict.fromkeys(names, gain), "paired": dict.fromkeys(names, policy.paired(seeds))})


def test_the_verdict_says_who_wins_and_whether_it_may_be_chance() -> None:
    assert judged(0.3, 0.1, 1.0, 0.2, 0.3, 0.4)["greedy"] == {
        "beaten": True,
        "beyond_chance": True,
        "lost_beyond_chance": False,
    }
    one_seed = judged(0.3, 0.1, 1.0, 0.3)
    assert one_seed["greedy"]["beyond_chance"], "one seed has no interval over seeds"
    assert "PPO beats greedy by 0.300 a workflow (+0.100 to +1.000 over questions; 1 of 1 seeds" in one_seed["summary"]
    unsteady = judged(0.3, 0.1, 1.0, 1.9, -0.7, -0.3)
    assert "PPO is ahead of greedy" in unsteady["summary"]
    assert "1 of 3 seeds won), which may be chance" in unsteady["summary"]
    assert "PPO loses to greedy" in judged(-0.3, -0.4, -0.2, -0.3, -0.31, -0.29)["summary"]
    assert "PPO is behind supervised_argmax" in judged(-0.1, -0.4, 0.2, -0.1, -0.1)["summary"]


def test_the_interval_over_seeds_is_students() -> None:
    found = policy.paired([1.0, 2.0, 3.0])
    # t of 2 degrees of freedom is 4.3027; the standard error is 1 / sqrt(3).
    assert found["low"] == pytest.approx(2 - 4.3027 / 3**0.5, abs=1e-3)
    assert (found["seeds_won"], found["seeds"]) == (3, 3)


def test_a_target_of_less_time_is_reached_from_below() -> None:
    row = {"ppo": 80.0, "best_single": 100.0}
    results = {
        "task_success": {"ppo": 0.6, "best_single": 0.5},
        "success": {"ppo": 0.5, "best_single": 0.5},
        "latency": row,
        "outcome_prediction": {"accuracy": 0.85, "majority_class": 0.6},
    }
    found = policy.targets(results)
    reached = {name: each["reached"] for name, each in found.items() if isinstance(each, dict)}
    assert reached == {
        "routing_accuracy": True,
        "task_success": False,
        "completion_time": True,
        "outcome_prediction": False,
    }


def test_times_are_those_of_calls_of_a_model_of_that_size(tmp_path: Path) -> None:
    table = read_source(llmrouter(tmp_path / "a", rows=30), tmp_path / "x").table
    assert endpoint_of("some-8b-chat", ASSUMED).size_b == 7
    assert endpoint_of("mixtral-8x22b", ASSUMED).size_b == 70
    timed, expected = with_times(table, ASSUMED)
    again, _ = with_times(table, ASSUMED)
    np.testing.assert_array_equal(timed.latency_ms, again.latency_ms)
    np.testing.assert_allclose(timed.latency_ms, 500 + 200 * 22.0)  # no size in the names: 70 billions, 200 tokens
    np.testing.assert_allclose(expected, timed.latency_ms)


def test_shapes_are_those_of_the_starter_corpus_without_folders() -> None:
    shapes, counts = read_shapes([])
    assert counts == {"starter": 660}
    assert all(2 <= len(shape) <= 8 for shape in shapes)
    assert any(len(parents) > 1 for shape in shapes for parents in shape)
