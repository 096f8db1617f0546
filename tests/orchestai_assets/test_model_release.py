"""Gates as asset checks: every one is shown with what was observed and allowed."""

from datetime import UTC, datetime
from pathlib import Path

from orchestai.app.promotion import CandidateReport
from orchestai.registry import ModelVersion
from orchestai.registry.gates import GATES, GateReport, GateResult
from orchestai_assets.assets.model_release import GATES as SHOWN
from orchestai_assets.assets.model_release import gate_checks, model_release

VERSION = ModelVersion(
    version="2", digest="d" * 64, folder=Path("/nowhere"), parts={"phase1": "p" * 64}, created=datetime.now(UTC)
)


def report(*results: GateResult) -> CandidateReport:
    gates = GateReport(results=results, rows=40, baseline="champion 1") if results else None
    return CandidateReport(version=VERSION, baseline="champion 1", gates=gates, action="refused", why="Not met: cost.")


def test_every_gate_of_the_library_is_a_check_that_does_not_block() -> None:
    assert tuple(SHOWN) == GATES
    specs = {spec.name: spec.blocking for spec in model_release.check_specs}
    assert specs == dict.fromkeys(GATES, False)


def test_a_refusal_shows_what_was_observed_and_allowed() -> None:
    refused = GateResult(gate="cost", observed="$0.02 a plan", allowed="at most $0.01", passed=False, why="40 rows")

    found = {check.check_name: check for check in gate_checks(report(refused))}

    assert tuple(found) == GATES
    assert not found["cost"].passed
    assert found["cost"].metadata["observed"].value == "$0.02 a plan"
    assert found["cost"].metadata["allowed"].value == "at most $0.01"
    assert found["quality"].passed
    assert found["quality"].metadata["observed"].value == "not judged"


def test_a_version_that_serves_already_is_not_judged_again() -> None:
    found = list(gate_checks(report()))

    assert len(found) == len(GATES)
    assert all(check.passed for check in found)
    assert found[0].metadata["why"].value == "Not met: cost."
