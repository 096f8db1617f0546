"""Each check passes on what is right, fails on what is wrong, and says gate, observed and allowed."""

import math
from typing import Any

import dagster as dg
import pytest

from orchestai.contracts import PlanExample
from orchestai.validation.report import Gate
from orchestai_assets.checks.gates import gate_results, gate_specs
from orchestai_assets.checks.phase1_checkpoint import loss_result
from orchestai_assets.checks.phase1_report import comparison_result, validity_result
from orchestai_assets.checks.phase2_checkpoint import actions_result, scale_result
from orchestai_assets.checks.phase2_report import reward_result
from orchestai_assets.checks.training_data import dags_result, leakage_result

KEY = dg.AssetKey("table")
KNOWN = frozenset({"summarization", "translation"})


def example(number: int, **fields: Any) -> PlanExample:
    values: dict[str, Any] = {
        "id": f"example-{number}",
        "instruction": f"Instruction {number}",
        "task_types": ("summarization", "translation"),
        "dependencies": ((), (0,)),
        "group": f"group-{number}",
        "split": "train",
    }
    return PlanExample(**{**values, **fields})


def observed(result: dg.AssetCheckResult) -> str:
    assert {"gate", "observed", "allowed"} <= set(result.metadata)
    return str(result.metadata["observed"].value)  # type: ignore[union-attr]


def gate(name: str, *, passed: bool, severity: Any = "error") -> Gate:
    return Gate(name=name, observed=f"observed of {name}", allowed="allowed", passed=passed, severity=severity)


def test_gates_that_hold_pass_both_checks() -> None:
    refusals, warnings = gate_results(KEY, "verdict", [gate("rows", passed=True)])

    assert refusals.passed
    assert warnings.passed


def test_a_gate_that_refuses_fails_the_blocking_check_alone() -> None:
    refusals, warnings = gate_results(
        KEY, "verdict", [gate("schema", passed=True), gate("rows", passed=False), gate("cost", passed=False)]
    )

    assert refusals.check_name == "verdict"
    assert not refusals.passed
    assert refusals.severity is dg.AssetCheckSeverity.ERROR
    assert observed(refusals) == "observed of rows"
    assert warnings.passed


def test_a_gate_that_warns_leaves_the_blocking_check_alone() -> None:
    refusals, warnings = gate_results(
        KEY, "verdict", [gate("balance", passed=False, severity="warn"), gate("rows", passed=True)]
    )

    assert refusals.passed
    assert not warnings.passed
    assert warnings.severity is dg.AssetCheckSeverity.WARN
    assert observed(warnings) == "observed of balance"


def test_only_the_check_of_the_refusing_gates_blocks() -> None:
    assert [(spec.name, spec.blocking) for spec in gate_specs(KEY, "verdict", "")] == [
        ("verdict", True),
        ("warnings", False),
    ]


def test_valid_plans_pass() -> None:
    assert dags_result([example(1), example(2)], KNOWN).passed


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"dependencies": ((1,), (0,))}, "circle"),
        ({"dependencies": ((), (5,))}, "depends on 5"),
        ({"task_types": ("summarization", "juggling")}, "unknown task types juggling"),
        ({"dependencies": ((),)}, "lists of dependencies"),
    ],
)
def test_a_plan_that_is_no_dag_of_known_types_fails(fields: dict[str, Any], says: str) -> None:
    result = dags_result([example(1), example(2, **fields)], KNOWN)

    assert not result.passed
    assert observed(result).startswith("1 of 2; example-2: ")
    assert says in observed(result)


def test_splits_that_share_nothing_pass() -> None:
    assert leakage_result([example(1), example(2, split="test")]).passed


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"group": "group-1"}, "group 'group-1'"),
        ({"instruction": "  instruction   1 "}, "instruction 'instruction 1'"),
    ],
)
def test_a_group_or_text_in_two_splits_fails(fields: dict[str, Any], says: str) -> None:
    result = leakage_result([example(1), example(2, split="test", **fields)])

    assert not result.passed
    assert observed(result) == f"1: {says}"


@pytest.mark.parametrize(
    ("losses", "passed"),
    [
        ([2.0, 1.0], True),
        ([2.0, 3.0, 1.9], True),
        ([2.0], True),
        ([2.0, 2.0], False),
        ([1.0, 2.0], False),
        ([2.0, math.nan, 1.0], False),
        ([math.inf, 1.0], False),
        ([], False),
    ],
)
def test_the_loss_is_finite_and_falls(losses: list[float], passed: bool) -> None:
    assert loss_result(losses).passed is passed


def test_one_invalid_plan_of_many_fails() -> None:
    assert validity_result({"train": {"dag_validity": 100.0}, "test": {"dag_validity": 100.0}}).passed
    result = validity_result({"train": {"dag_validity": 100.0}, "test": {"dag_validity": 99.9}})

    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.ERROR
    assert observed(result) == "test 99.90 %"


@pytest.mark.parametrize(("learned", "passed"), [(80.0, True), (70.0, True), (69.9, False)])
def test_a_planner_worse_than_rules_is_a_warning(learned: float, passed: bool) -> None:
    result = comparison_result({"learned": {"node_f1": learned}, "rules": {"node_f1": 70.0}})

    assert result.passed is passed
    assert result.severity is dg.AssetCheckSeverity.WARN


def test_a_choice_that_is_not_allowed_blocks_the_policy() -> None:
    assert actions_result(0.0).passed
    refused = actions_result(0.001)
    assert not refused.passed
    assert refused.severity is dg.AssetCheckSeverity.ERROR
    assert observed(refused) == "0.10%"


def test_a_policy_that_earns_less_than_the_supervised_one_is_a_warning() -> None:
    better = {"ppo": {"reward": 2.0}, "supervised_argmax": {"reward": 1.5}}
    assert reward_result(better).passed
    worse = reward_result({"ppo": {"reward": 1.0}, "supervised_argmax": {"reward": 1.5}})
    assert not worse.passed
    assert worse.severity is dg.AssetCheckSeverity.WARN
    assert observed(worse) == "1.000"


def test_a_reward_that_drowns_success_is_a_warning() -> None:
    scale = {"success": 3.4, "cost": 0.001, "latency": 13.0, "drowned_by": "latency"}
    drowned = scale_result(scale)
    assert not drowned.passed
    assert drowned.severity is dg.AssetCheckSeverity.WARN
    assert observed(drowned) == "success 3.4, cost 0.001, latency 13"
    assert scale_result({**scale, "latency": 0.1, "drowned_by": None}).passed
