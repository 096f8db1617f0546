"""A candidate's way: registered, measured against the champion on held-out rows, judged by gates, released."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from orchestai.app.json_files import write_json
from orchestai.app.learning import read_examples
from orchestai.app.off_policy import gain_of_version
from orchestai.app.places import training_folder
from orchestai.app.planning import build_planner
from orchestai.app.serving import project_of
from orchestai.app.workforce import Workforce
from orchestai.config import Project, PromotionConfig
from orchestai.contracts import Instruction, Plan, PlanExample, PlanPrediction
from orchestai.contracts.base import Record
from orchestai.errors import CheckpointError, InputError, OrchestAIError
from orchestai.planner.planner import HybridPlanner
from orchestai.prompts import PromptLibrary
from orchestai.registry import ModelRegistry, ModelVersion, RegistryState, open_registry
from orchestai.registry.gates import (
    Compared,
    GateEvidence,
    GateReport,
    GateResult,
    OffPolicyEvidence,
    evaluate_gates,
)
from orchestai.registry.records import MODEL, prompt_subject
from orchestai.registry.release import ReleaseStep, promote, start_prompt_release, start_release, step

_log = logging.getLogger(__name__)

OffPolicy = Callable[[Project, ModelVersion, ModelVersion | None], OffPolicyEvidence]
"""Estimates from the logs what a candidate would have reached, against the champion, or else what was logged."""

REPORT_FILE = "candidate.json"


class CandidateReport(Record):
    """What became of a candidate.

    Attributes:
        version: The candidate.
        baseline: What it was held against: `champion 3`, or `rules`.
        gates: Every gate with what was observed and allowed; null where nothing was to be judged.
        action: `refused`, `canary` (its release began), `champion` (the first of all), `passed` (judged only),
            `unchanged` (it serves already, or its release goes on), or `busy` (another release goes on).
        why: The reason, in words.
    """

    version: ModelVersion
    baseline: str
    gates: GateReport | None
    action: Literal["refused", "canary", "champion", "passed", "unchanged", "busy"]
    why: str


def policy_of(project: Project) -> PromotionConfig:
    """Return the rules by which versions of this project are judged and released."""
    return project.promotion[project.registry.policy]


def release_report(project: Project) -> Path:
    """Return the file of the last judgement."""
    return project.paths.reports / "release" / REPORT_FILE


def release_candidate(
    project: Project,
    *,
    version: str | None = None,
    off_policy: OffPolicy = gain_of_version,
    start: bool = True,
) -> CandidateReport:
    """Register what was trained, judge it, and let it take over step by step if every gate is met.

    May be repeated: equal content is the same version, a release that goes on is left alone.

    Args:
        project: The project.
        version: A version that is registered already, instead of what was trained.
        off_policy: Makes the estimate from the logs.
        start: Whether to begin the release; else it is judged only.

    Raises:
        CheckpointError: The checkpoint is half-written or damaged.
        DataError: There are no training data to judge by.
        RegistryUnreachableError: MLflow does not answer; what is served stays.
        RegistryConflictError: Somebody else changed the registry meanwhile.
    """
    registry = open_registry(project)
    candidate = registry.register() if version is None else registry.get(version)
    state = registry.state()
    report = _standing(candidate, state) or _judged(project, registry, candidate, state, off_policy, start)
    write_json(release_report(project), report.model_dump(mode="json"))
    return report


def canary_step(project: Project, *, now: datetime | None = None) -> list[ReleaseStep]:
    """Look at every release that goes on, and carry out what follows.

    Raises:
        RegistryUnreachableError: MLflow does not answer; what is served stays.
        StorageError: A log cannot be read.
    """
    registry = open_registry(project)
    canary = policy_of(project).canary
    moment = now or datetime.now(UTC)
    return [
        step(registry, project.paths.execution_logs, canary, subject=subject, now=moment)
        for subject in sorted(registry.state().releases)
    ]


def compare_prompts(project: Project, challenger: str, *, now: datetime | None = None) -> RegistryState:
    """Begin to compare a version of a prompt with the one in use, in the live traffic.

    Args:
        project: The project; it declares both versions.
        challenger: The one that is to take over, as in `summarization@2`.
        now: When it begins.

    Raises:
        InputError: There is no such version, it is in use, or it belongs to no task type.
        RegistryUnreachableError: MLflow does not answer.
    """
    found = next((prompt for prompt in project.prompts if prompt.label == challenger), None)
    if found is None:
        known = ", ".join(prompt.label for prompt in project.prompts if not prompt.active) or "none"
        raise InputError(f"There is no prompt {challenger!r}.", remedy=f"Versions that are not active: {known}.")
    kind = found.task_type
    if kind not in project.tasks.names:
        raise InputError(f"{challenger} serves {kind!r}, which is no task type.", remedy="Set `active` instead.")
    registry = open_registry(project)
    champion = registry.state().prompts.get(kind) or next(
        (prompt.label for prompt in project.prompts if prompt.active and prompt.task_type == kind), None
    )
    if champion is None:
        raise InputError(f"No prompt of {kind!r} is active to compare {challenger} with.")
    canary = policy_of(project).canary
    return start_prompt_release(
        registry, prompt_subject(kind), champion, challenger, canary, now=now or datetime.now(UTC)
    )


def measure_candidate(
    project: Project,
    candidate: ModelVersion,
    champion: ModelVersion | None,
    rows: Sequence[PlanExample],
    *,
    off_policy: OffPolicyEvidence | None = None,
) -> GateEvidence:
    """Plan every row with both, and compare; without a champion the rules are the baseline.

    Both plan as they would serve, but for the language model, which knows nothing of versions.

    Raises:
        CheckpointError: The candidate cannot be loaded, or the champion cannot.
    """
    ours = _compared(_planner(project, candidate), rows)
    theirs = _compared(_planner(project, champion), rows)
    return GateEvidence(
        candidate=ours,
        baseline=theirs,
        baseline_name=f"champion {champion.version}" if champion is not None else "rules",
        groups=tuple(row.group or row.id for row in rows),
        families=tuple(row.task_types[-1] for row in rows),
        off_policy=off_policy,
    )


def held_out(examples: Sequence[PlanExample], share: float, candidate: ModelVersion) -> list[PlanExample]:
    """Return a part of the test split, whole groups, another part for each candidate."""

    def place(row: PlanExample) -> float:
        key = f"{candidate.digest}\n{row.group or row.id}"
        return int(hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:13], 16) / 16**13

    return [row for row in examples if row.split == "test" and place(row) < share]


def _standing(candidate: ModelVersion, state: RegistryState) -> CandidateReport | None:
    """Say what a version is already; None if it has to be judged."""
    release = state.releases.get(MODEL)
    baseline = f"champion {state.aliases.champion}"
    if state.aliases.champion == candidate.version:
        why = f"Version {candidate.version} is the champion."
    elif release is not None and release.challenger == candidate.version:
        why = f"The release of version {candidate.version} goes on."
    else:
        return None
    return CandidateReport(version=candidate, baseline=baseline, gates=None, action="unchanged", why=why)


def _judged(
    project: Project,
    registry: ModelRegistry,
    candidate: ModelVersion,
    state: RegistryState,
    off_policy: OffPolicy,
    start: bool,
) -> CandidateReport:
    policy = policy_of(project)
    number = state.aliases.champion
    champion = registry.get(number) if number is not None else None
    if champion is not None and not _loads(project, champion):
        champion = None  # of another release of the package: nobody can be served by it
    baseline = f"champion {number}" if champion is not None else "rules"
    examples, _, _ = read_examples(project, training_folder(project))
    rows = held_out(examples, policy.heldout.share, candidate)
    if len(rows) < policy.heldout.min_rows:
        result = GateResult(
            gate="quality",
            observed=f"{len(rows)} held-out rows",
            allowed=f"at least {policy.heldout.min_rows}",
            passed=False,
            why=f"{policy.heldout.share:g} of the test split is too little to judge by",
        )
        gates = GateReport(results=(result,), rows=len(rows), baseline=baseline)
    else:
        asked = policy.gates.off_policy_lower_bound is not None
        estimate = off_policy(project, candidate, champion) if asked else None
        gates = evaluate_gates(measure_candidate(project, candidate, champion, rows, off_policy=estimate), policy.gates)

    def report(action: Literal["refused", "canary", "champion", "passed", "busy"], why: str) -> CandidateReport:
        return CandidateReport(version=candidate, baseline=baseline, gates=gates, action=action, why=why)

    if not gates.passed:
        return report("refused", f"Not met: {', '.join(gates.refusals)}.")
    if not start:
        return report("passed", "Every gate is met.")
    going_on = state.releases.get(MODEL)
    if going_on is not None:
        return report("busy", f"Every gate is met; the release of version {going_on.challenger} has to end first.")
    if number is not None and champion is None:
        promote(registry, candidate.version, why="the champion cannot be loaded", now=datetime.now(UTC))
        return report("champion", f"Every gate is met, and version {number} cannot be loaded: the champion at once.")
    new = start_release(registry, candidate.version, policy.canary, now=datetime.now(UTC))
    if new.aliases.champion == candidate.version:
        return report("champion", "Every gate is met, and it is the first: the champion at once.")
    return report("canary", f"Every gate is met: {100 * new.releases[MODEL].share:g} % of the instructions.")


def _loads(project: Project, version: ModelVersion) -> bool:
    try:
        _planner(project, version)
    except CheckpointError as error:
        _log.warning("version %s cannot be loaded: %s", version.version, error)
        return False
    return True


def _planner(project: Project, version: ModelVersion | None) -> HybridPlanner:
    """Return the planner of a version, or the rules; no language model takes part."""
    planner = project.planner.model_copy(update={"checkpoint": None, "fallback": "rules"})
    alone = project.model_copy(update={"planner": planner})
    if version is not None:
        alone = project_of(alone, version.folder)
    workforce = Workforce(alone, mock=False, references={})  # gives profiles; nothing is called
    return build_planner(alone, workforce, PromptLibrary(alone.prompts), learned=version is not None)


def _compared(planner: HybridPlanner, rows: Sequence[PlanExample]) -> Compared:
    from orchestai.evaluation.evaluate import scores

    plans, times = asyncio.run(_plan_all(planner, rows))
    predicted = [_prediction(plan) for plan in plans]
    found = scores(rows, predicted)
    return Compared(
        # Which sub-tasks, and what waits for what, count alike.
        quality=tuple(float(value) for value in (found["node_f1"] + found["link_f1"]) / 2),
        confidences=tuple(plan.confidence if plan is not None else 0.0 for plan in plans),
        right=tuple(bool(value) for value in found["exact"]),
        latency_ms=tuple(times),
        cost_usd=tuple(plan.estimated_cost_usd if plan is not None else 0.0 for plan in plans),
        needed=tuple(_needed(row, plan) for row, plan in zip(rows, plans, strict=True)),
        valid=tuple(plan is not None for plan in plans),
    )


def _needed(row: PlanExample, plan: Plan | None) -> int:
    planned = Counter(node.task_type for node in plan.graph.nodes) if plan is not None else Counter()
    return (planned & Counter(row.task_types)).total()


async def _plan_all(planner: HybridPlanner, rows: Sequence[PlanExample]) -> tuple[list[Plan | None], list[float]]:
    plans: list[Plan | None] = []
    times = []
    for row in (rows[0], *rows):  # the first plan of all pays for what is loaded late
        instruction = Instruction(text=row.instruction)
        started = time.perf_counter()
        try:
            plans.append(await planner.plan(instruction))
        except OrchestAIError:
            plans.append(None)
        times.append((time.perf_counter() - started) * 1000)
    return plans[1:], times[1:]


def _prediction(plan: Plan | None) -> PlanPrediction | None:
    if plan is None:
        return None
    return PlanPrediction(
        task_types=tuple(node.task_type for node in plan.graph.nodes),
        dependencies=plan.graph.dependencies,
        confidence=plan.confidence or 0.0,
    )
