"""Each gate passes and refuses where it should, and says with which numbers."""

from typing import Any

import numpy as np
import pytest

from orchestai.config import GatesConfig
from orchestai.registry.gates import GATES, Compared, GateEvidence, GateReport, OffPolicyEvidence, evaluate_gates

ROWS = 60


def compared(**changes: Any) -> Compared:
    fields: dict[str, Any] = {
        "quality": tuple(np.linspace(0.5, 1.0, ROWS)),
        "confidences": (0.5,) * ROWS,
        "right": tuple(place % 2 == 0 for place in range(ROWS)),
        "latency_ms": (20.0,) * ROWS,
        "cost_usd": (0.01,) * ROWS,
        "needed": (2,) * ROWS,
        "valid": (True,) * ROWS,
    }
    return Compared(**{**fields, **changes})


def judge(candidate: Compared, baseline: Compared | None = None, **changes: Any) -> GateReport:
    fields: dict[str, Any] = {
        "candidate": candidate,
        "baseline": baseline or compared(),
        "baseline_name": "champion 1",
        "groups": tuple(f"group {place}" for place in range(ROWS)),
        "families": tuple("abc"[place % 3] for place in range(ROWS)),
    }
    return evaluate_gates(GateEvidence(**{**fields, **changes}), GatesConfig())


def test_an_equal_candidate_passes_every_gate() -> None:
    report = judge(compared())

    assert report.passed
    assert tuple(result.gate for result in report.results) == GATES
    assert report.rows == ROWS
    assert all(result.observed and result.allowed for result in report.results)


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("quality", {"quality": tuple(np.linspace(0.5, 1.0, ROWS) - 0.05)}),
        ("calibration", {"confidences": (0.9,) * ROWS}),
        ("latency", {"latency_ms": (31.0,) * ROWS}),
        ("cost", {"cost_usd": (0.0111,) * ROWS}),
        ("cost", {"needed": (2,) * (ROWS // 2) + (1,) * (ROWS // 2)}),
        ("cost", {"needed": (0,) * ROWS}),
        ("dag_validity", {"valid": (False,) + (True,) * (ROWS - 1)}),
    ],
)
def test_each_gate_refuses_on_its_own(gate: str, changes: dict[str, Any]) -> None:
    refusals = judge(compared(**changes)).refusals

    assert gate in refusals
    assert set(refusals) <= {gate, "families"}  # a loss of quality everywhere is one in each family


def test_a_gain_that_is_not_sure_is_refused_by_its_lower_end() -> None:
    generator = np.random.default_rng(0)
    noise = np.clip(np.linspace(0.5, 1.0, ROWS) + generator.normal(0.01, 0.3, ROWS), 0, 1)

    (quality, *_) = judge(compared(quality=tuple(noise))).results

    assert not quality.passed
    assert "at least" in quality.observed


def test_a_family_that_loses_is_named_though_the_whole_gains() -> None:
    quality = np.linspace(0.5, 1.0, ROWS) + np.where(np.arange(ROWS) % 3 == 1, -0.2, 0.2)

    report = judge(compared(quality=tuple(quality)))

    assert report.refusals == ("families",)
    (families,) = (result for result in report.results if result.gate == "families")
    assert families.observed == "worse: b -20.0"


def test_off_policy_counts_where_it_is_measurable_only() -> None:
    bad = OffPolicyEvidence(measurable=True, difference=-2.0, low=-4.0, high=0.0, why="doubly robust")
    wide = OffPolicyEvidence(measurable=True, difference=-1.0, low=-8.0, high=6.0, why="doubly robust")
    surely = OffPolicyEvidence(measurable=True, difference=-9.0, low=-16.0, high=-2.0, why="doubly robust")
    unknown = OffPolicyEvidence(measurable=False, why="no propensities")

    assert judge(compared(), off_policy=bad).refusals == ("off_policy",)
    assert judge(compared(), off_policy=surely).refusals == ("off_policy",), "wide, and still all of it is too bad"
    (found,) = (each for each in judge(compared(), off_policy=wide).results if each.gate == "off_policy")
    assert found.passed
    assert found.observed == "not measurable: between -8.00 and +6.00 points"
    (found,) = (each for each in judge(compared(), off_policy=unknown).results if each.gate == "off_policy")
    assert found.passed
    assert (found.observed, found.why) == ("not measurable", "no propensities")


def test_gates_that_are_switched_off_are_not_shown() -> None:
    off = dict.fromkeys(GatesConfig.model_fields)
    gates = GatesConfig(**{**off, "family_min_rows": 2, "off_policy_max_width": 4})
    evidence = GateEvidence(
        candidate=compared(),
        baseline=compared(),
        baseline_name="rules",
        groups=("g",) * ROWS,
        families=("f",) * ROWS,
    )

    assert evaluate_gates(evidence, gates).results == ()


def test_rows_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="same rows"):
        judge(compared(), groups=("one",))


def test_who_leaves_work_out_is_not_cheaper_for_it() -> None:
    half_of_the_work = compared(cost_usd=(0.006,) * ROWS, needed=(1,) * ROWS)
    assert "cost" not in judge(compared(), half_of_the_work).refusals
    assert "cost" in judge(half_of_the_work, compared()).refusals
    nothing_right = compared(needed=(0,) * ROWS)
    assert "cost" not in judge(compared(), nothing_right).refusals
