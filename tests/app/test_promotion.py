"""A candidate's way from the checkpoint folder to a release, or to a refusal."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

import orchestai.app.promotion
from orchestai.app.promotion import (
    canary_step,
    compare_prompts,
    held_out,
    release_candidate,
    release_report,
)
from orchestai.config import Project, PromptTemplate
from orchestai.contracts import PlanExample
from orchestai.errors import InputError
from orchestai.registry import Aliases, ModelVersion, open_registry
from orchestai.registry.gates import OffPolicyEvidence
from tests.app.registered import BROKEN, WRONG, give_database, register, scripted_planner, train


def examples(rows: int) -> list[PlanExample]:
    return [
        PlanExample(
            id=f"row {number}",
            instruction=f"What is the capital of country {number}?",
            task_types=("question_answering",),
            dependencies=((),),
            group=f"group {number // 2}",
            split="test",
        )
        for number in range(rows)
    ]


@pytest.fixture
def judged(project: Project, database: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    give_database(project, database)
    monkeypatch.setattr(orchestai.app.promotion, "build_planner", scripted_planner)
    monkeypatch.setattr(
        orchestai.app.promotion, "read_examples", lambda *_: (examples(120), project.tasks, project.workers)
    )
    return project


def test_the_first_serves_at_once_an_equal_one_step_by_step_and_a_worse_one_never(judged: Project) -> None:
    train(judged, 1)
    first = release_candidate(judged)
    assert (first.action, first.baseline) == ("champion", "rules")
    assert release_candidate(judged).action == "unchanged"

    train(judged, 2)
    second = release_candidate(judged)
    assert (second.action, second.baseline) == ("canary", "champion 1")
    assert "5 %" in second.why
    assert [step.action for step in canary_step(judged)] == ["wait"]
    assert release_candidate(judged).action == "unchanged"

    train(judged, 3)
    assert release_candidate(judged).action == "busy"

    train(judged, WRONG)
    worse = release_candidate(judged)
    assert worse.action == "refused"
    assert worse.gates is not None
    assert "quality" in worse.gates.refusals
    kept = json.loads(release_report(judged).read_text())
    assert kept["action"] == "refused"
    assert open_registry(judged).state().aliases == Aliases(champion="1", challenger="2")


def test_a_champion_that_cannot_be_loaded_any_more_is_replaced(judged: Project) -> None:
    version = register(judged, BROKEN)
    registry = open_registry(judged)
    state = registry.state()
    registry.change(state, state.update(aliases=Aliases(champion=version)))
    train(judged, 2)

    report = release_candidate(judged)

    assert (report.action, report.baseline) == ("champion", "rules")
    assert registry.state().aliases == Aliases(champion="2", previous="1")


def test_too_few_rows_are_a_refusal(judged: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        orchestai.app.promotion, "read_examples", lambda *_: (examples(10), judged.tasks, judged.workers)
    )
    train(judged, 1)

    report = release_candidate(judged)

    assert report.action == "refused"
    assert report.gates is not None
    (gate,) = report.gates.results
    assert gate.allowed == "at least 20"
    assert open_registry(judged).state().aliases == Aliases()


def test_an_estimate_from_the_logs_can_refuse(judged: Project) -> None:
    asked: list[tuple[str, str | None]] = []

    def estimate(_: Project, candidate: ModelVersion, champion: ModelVersion | None) -> OffPolicyEvidence:
        asked.append((candidate.version, champion.version if champion else None))
        return OffPolicyEvidence(measurable=True, difference=-3.0, low=-5.0, high=-1.0)

    train(judged, 1)
    report = release_candidate(judged, off_policy=estimate)

    assert report.action == "refused"
    assert report.gates is not None
    assert report.gates.refusals == ("off_policy",)
    assert asked == [("1", None)]


def test_nobody_reads_the_logs_for_a_gate_that_is_off(judged: Project) -> None:
    policy = judged.promotion["default"]
    off = policy.model_copy(update={"gates": policy.gates.model_copy(update={"off_policy_lower_bound": None})})
    project = judged.model_copy(update={"promotion": {"default": off}})

    def estimate(*_: object) -> OffPolicyEvidence:
        raise AssertionError("asked")

    train(project, 1)
    report = release_candidate(project, off_policy=estimate)

    assert report.gates is not None
    assert "off_policy" not in [result.gate for result in report.gates.results]


def test_held_out_rows_are_of_the_test_split_whole_groups_and_others_for_each_candidate() -> None:
    rows = [
        row.model_copy(update={"split": "train" if number < 100 else "test"})
        for number, row in enumerate(examples(300))
    ]
    now = datetime.now(UTC)
    versions = [
        ModelVersion(version=str(number), digest=f"{number}" * 64, folder=Path(), parts={}, created=now)
        for number in (1, 2)
    ]

    first, second = ({row.id for row in held_out(rows, 0.5, version)} for version in versions)

    assert first != second
    assert 60 <= len(first) <= 140
    for found in (first, second):
        assert all(int(name.removeprefix("row ")) >= 100 for name in found)
        groups = {int(name.removeprefix("row ")) // 2 for name in found}
        assert len(found) == 2 * len(groups)


def test_a_prompt_is_compared_with_the_one_in_use(judged: Project) -> None:
    active = next(prompt for prompt in judged.prompts if prompt.task_type == "summarization" and prompt.active)
    other = PromptTemplate(name="short", task_type="summarization", version=7, active=False, template="{{ task }}")
    project = judged.model_copy(update={"prompts": (*judged.prompts, other)})

    (release,) = compare_prompts(project, "short@7").releases.values()

    assert (release.champion, release.challenger, release.task_type) == (active.label, "short@7", "summarization")
    with pytest.raises(InputError, match="no prompt 'short@8'"):
        compare_prompts(project, "short@8")
    with pytest.raises(InputError, match="is used already"):
        compare_prompts(judged, next(p.label for p in judged.prompts if p.task_type == "translation"))
