from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestai.arms.registry import ArmRegistry, score
from orchestai.config import ScoringConfig, load_project
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
    closed: dict[str, str] = {}
    registry = ArmRegistry(why_not=closed.get)
    registry.register(chat("dear", input_usd_per_mtok=50).profile, ["summarization", "reasoning"])
    registry.register(chat("cheap").profile, ["summarization"])
    assert registry.best_for("summarization") == "cheap"
    assert registry.best_for("reasoning") == "dear"
    assert registry.best_for("summarization", exclude=["cheap"]) == "dear"
    closed["cheap"] = "breaker open"
    assert registry.best_for("summarization") == "dear"
    assert registry.status("cheap").reason == "breaker open"
    assert registry.order(["cheap", "stranger", "dear"]) == ("dear", "cheap", "stranger")
    del closed["cheap"]
    assert registry.best_for("summarization") == "cheap"
    assert registry.status("cheap").reason is None


def test_ties_go_by_name_whatever_the_order(chat: Chat) -> None:
    for names in (["b", "a", "c"], ["c", "b", "a"]):
        registry = ArmRegistry()
        for name in names:
            registry.register(chat(name).profile, ["x"])
        assert [arm.name for arm in registry.rank("x")] == ["a", "b", "c"]


def test_it_learns_from_what_happens(chat: Chat) -> None:
    registry = ArmRegistry(ScoringConfig(prior_success=0.8, prior_calls=5))
    registry.register(chat("a").profile, ["x"])
    registry.register(chat("b").profile, ["x"])
    assert registry.status("a").success_rate == pytest.approx(0.8)
    for _ in range(5):
        registry.observe("a", success=False, cost_usd=0.5, latency_ms=100)
    status = registry.status("a")
    assert status.success_rate == pytest.approx(4 / 10)
    assert (status.calls, status.cost_usd, status.latency_ms) == (5, 0.5, 100)
    registry.observe("a", success=True, cost_usd=1.0, latency_ms=200)
    assert registry.status("a").latency_ms == pytest.approx(120)
    assert registry.best_for("x") == "b"


def test_load_counts_while_a_call_runs_and_a_full_arm_comes_last(chat: Chat) -> None:
    registry = ArmRegistry()
    registry.register(chat("a").profile, ["x"], capacity=1)
    registry.register(chat("z", input_usd_per_mtok=1000, typical_latency_ms=60000).profile, ["x"])
    with registry.in_use("a"):
        assert registry.status("a").in_flight == 1
        assert registry.best_for("x") == "z"
    assert registry.best_for("x") == "a"
    with pytest.raises(RuntimeError), registry.in_use("a"):
        raise RuntimeError
    assert registry.status("a").in_flight == 0


def test_without_a_limit_load_still_spreads_the_work(chat: Chat) -> None:
    registry = ArmRegistry()
    registry.register(chat("a").profile, ["x"])
    registry.register(chat("b").profile, ["x"])
    with registry.in_use("a"):
        assert registry.best_for("x") == "b"


def test_nobody_can_do_it(chat: Chat) -> None:
    registry = ArmRegistry()
    registry.register(chat("a").profile, ["x", "y"])
    with pytest.raises(NoArmError, match="offered now: x, y") as caught:
        registry.best_for("z")
    assert caught.value.capability == "z"


def test_names_and_capabilities_are_checked(chat: Chat) -> None:
    registry = ArmRegistry()
    registry.register(chat("a").profile, ["x"])
    with pytest.raises(InputError, match="registered already"):
        registry.register(chat("a").profile, ["x"])
    with pytest.raises(InputError, match="no capability"):
        registry.register(chat("b").profile, [])
    with pytest.raises(InputError, match="Known: a"):
        registry.status("nobody")
    assert registry.names == ("a",)


def test_a_catalog_registers_itself() -> None:
    workers = load_project().workers
    registry = ArmRegistry.of_catalog(workers)
    assert registry.names == workers.names
    assert "chat" in registry.status(workers.names[0]).capabilities
