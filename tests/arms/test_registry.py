from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestai.arms.registry import ArmRegistry, score
from orchestai.config import ScoringConfig
from orchestai.errors import InputError, NoArmError
from orchestai.workers import OpenAIWorker

Chat = Callable[..., OpenAIWorker]


def test_the_score_by_hand() -> None:
    weights = ScoringConfig(success=4, cost=2, latency=1, load=1, cost_scale_usd=0.01, latency_scale_ms=500)
    value = score(cost_usd=0.03, latency_ms=1500, success_rate=0.5, load=0.25, weights=weights)
    assert value == pytest.approx((4 * 0.5 + 2 * 0.25 + 1 * 0.25 + 1 * 0.75) / 8)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"cost_usd": 0.001}, {"cost_usd": 0.002}),
        ({"latency_ms": 10}, {"latency_ms": 20}),
        ({"success_rate": 0.9}, {"success_rate": 0.8}),
        ({"load": 0.0}, {"load": 0.5}),
    ],
)
def test_each_part_counts(better: dict[str, float], worse: dict[str, float]) -> None:
    even = {"cost_usd": 0.001, "latency_ms": 100.0, "success_rate": 0.5, "load": 0.0}
    weights = ScoringConfig()
    assert score(**(even | better), weights=weights) > score(**(even | worse), weights=weights)


def test_best_for_a_capability(chat: Chat) -> None:
    registry = ArmRegistry()
    registry.register(chat("dear", input_usd_per_mtok=50), ["summarization", "reasoning"])
    registry.register(chat("cheap"), ["summarization"])
    assert registry.best_for("summarization").profile.name == "cheap"
    assert registry.best_for("reasoning").profile.name == "dear"
    assert registry.best_for("summarization", exclude=["cheap"]).profile.name == "dear"
    registry.set_available("cheap", False, "breaker open")
    assert registry.best_for("summarization").profile.name == "dear"
    assert registry.status("cheap").reason == "breaker open"
    registry.set_available("cheap", True)
    assert registry.best_for("summarization").profile.name == "cheap"
    assert registry.status("cheap").reason is None


def test_ties_go_by_name_whatever_the_order(chat: Chat) -> None:
    for names in (["b", "a", "c"], ["c", "b", "a"]):
        registry = ArmRegistry()
        for name in names:
            registry.register(chat(name), ["x"])
        assert [arm.name for arm in registry.rank("x")] == ["a", "b", "c"]


def test_it_learns_from_what_happens(chat: Chat) -> None:
    registry = ArmRegistry(ScoringConfig(prior_success=0.8, prior_calls=5))
    registry.register(chat("a"), ["x"])
    registry.register(chat("b"), ["x"])
    assert registry.status("a").success_rate == pytest.approx(0.8)
    for _ in range(5):
        registry.observe("a", success=False, cost_usd=0.5, latency_ms=100)
    status = registry.status("a")
    assert status.success_rate == pytest.approx(4 / 10)
    assert (status.calls, status.cost_usd, status.latency_ms) == (5, 0.5, 100)
    registry.observe("a", success=True, cost_usd=1.0, latency_ms=200)
    assert registry.status("a").latency_ms == pytest.approx(120)
    assert registry.best_for("x").profile.name == "b"


def test_load_counts_while_a_call_runs_and_a_full_arm_comes_last(chat: Chat) -> None:
    registry = ArmRegistry()
    registry.register(chat("a"), ["x"], capacity=1)
    registry.register(chat("z", input_usd_per_mtok=1000, typical_latency_ms=60000), ["x"])
    with registry.in_use("a") as worker:
        assert worker.profile.name == "a"
        assert registry.status("a").in_flight == 1
        assert registry.best_for("x").profile.name == "z"
    assert registry.best_for("x").profile.name == "a"
    with pytest.raises(RuntimeError), registry.in_use("a"):
        raise RuntimeError
    assert registry.status("a").in_flight == 0


def test_without_a_limit_load_still_spreads_the_work(chat: Chat) -> None:
    registry = ArmRegistry()
    registry.register(chat("a"), ["x"])
    registry.register(chat("b"), ["x"])
    with registry.in_use("a"):
        assert registry.best_for("x").profile.name == "b"


def test_nobody_can_do_it(chat: Chat) -> None:
    registry = ArmRegistry()
    registry.register(chat("a"), ["x", "y"])
    with pytest.raises(NoArmError, match="offered now: x, y") as caught:
        registry.best_for("z")
    assert caught.value.capability == "z"


def test_names_and_capabilities_are_checked(chat: Chat) -> None:
    registry = ArmRegistry()
    registry.register(chat("a"), ["x"])
    with pytest.raises(InputError, match="registered already"):
        registry.register(chat("a"), ["x"])
    with pytest.raises(InputError, match="no capability"):
        registry.register(chat("b"), [])
    with pytest.raises(InputError, match="Known: a"):
        registry["nobody"]
    registry.unregister("a")
    assert registry.names == ()
    assert "a" not in registry
