"""What other policies would have earned on this project's own log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestai.app.places import router_folder
from orchestai.app.serving import project_of
from orchestai.config import Project
from orchestai.errors import InputError
from orchestai.logs import ExecutionLogRecord, read_executions
from orchestai.registry import ModelVersion
from orchestai.registry.gates import OffPolicyEvidence

if TYPE_CHECKING:
    from orchestai.embeddings.protocol import TextEncoder
    from orchestai.evaluation.off_policy import LoggedRows, OffPolicyEstimate, TargetPolicy
    from orchestai.evaluation.off_policy.policies import Policies

SUCCESS = "success"
"""The reward that is 1 for an accepted answer, else 0."""


class OffPolicyReport(NamedTuple):
    """Estimates by policy.

    Attributes:
        reward: What was counted: `success`, or the name of reward weights.
        logged: Mean reward of the log itself; None if it is empty.
        executions: Executions whose workers were drawn.
        simulated: Those of them in which a simulated worker took part.
        left_out: The others, by reason.
        policies: What each policy would have earned, or why that cannot be told.
    """

    reward: str
    logged: float | None
    executions: int
    simulated: int
    left_out: dict[str, int]
    policies: dict[str, OffPolicyEstimate]

    def to_json(self) -> dict[str, Any]:
        """Return the report in terms of JSON."""
        policies = {name: each.model_dump(mode="json") for name, each in self.policies.items()}
        return {**self._asdict(), "policies": policies}


def logged_rows(project: Project, *, since: datetime | None = None, reward: str = SUCCESS) -> LoggedRows:
    """Return the executions of the project's log whose workers were drawn.

    Raises:
        InputError: There are no reward weights of that name.
        StorageError: The log cannot be read.
    """
    from orchestai.evaluation.off_policy import read_logged
    from orchestai.evaluation.off_policy.rows import success

    records = read_executions(project.paths.execution_logs, since=since)
    if reward == SUCCESS:
        return read_logged(records, reward=success)
    if reward not in project.rewards:
        known = ", ".join([SUCCESS, *project.rewards])
        raise InputError(f"There are no reward weights called {reward!r}.", remedy=f"Known: {known}.")
    weights = project.rewards[reward]

    def weighted(record: ExecutionLogRecord) -> float:
        return weights.reward(
            success=record.success,
            cost_usd=record.cost,
            latency_ms=record.latency_ms,
            successful_tasks=sum(subtask.status == "done" for subtask in record.subtasks),
        )

    return read_logged(records, reward=weighted)


def evaluate_off_policy(
    project: Project, *, since: datetime | None = None, policies: Sequence[str] = (), reward: str = SUCCESS
) -> OffPolicyReport:
    """Estimate policies on the log: each worker of it alone, the cheapest, all alike, and the router if there is one.

    Args:
        project: The configuration.
        since: Only executions that ended then or later.
        policies: Which, instead of all: `cheapest`, `uniform`, `router`, or names of workers.
        reward: `success`, or the name of reward weights.

    Raises:
        InputError: A policy or the reward is unknown.
        CheckpointError: The router cannot be used.
        StorageError: The log cannot be read.
    """
    from orchestai.evaluation.off_policy import OffPolicyEstimate, estimate
    from orchestai.evaluation.off_policy.policies import Policies

    found = logged_rows(project, since=since, reward=reward)
    makers = Policies(project.tasks, project.workers, project.routing)
    rows = [row for row in found.rows if makers.knows(row)]
    left_out = dict(found.left_out)
    if len(rows) < len(found.rows):
        left_out["a task type that the catalog lacks"] = len(found.rows) - len(rows)
    names = list(policies) or _all_policies(project, [choice.worker for row in rows for choice in row.choices])
    limits = (0.0, 1.0) if reward == SUCCESS else (-float("inf"), float("inf"))
    return OffPolicyReport(
        reward=reward,
        logged=sum(row.reward for row in rows) / len(rows) if rows else None,
        executions=len(rows),
        simulated=sum(row.simulated for row in rows),
        left_out=left_out,
        policies={
            name: estimate(rows, _policy(project, makers, name), reward_range=limits)
            if name not in project.workers.names or not rows or makers.can_choose(name, rows)
            else OffPolicyEstimate(reason=f"Not measurable: {name} may be chosen for no sub-task of the log.")
            for name in dict.fromkeys(names)
        },
    )


def gain_of_version(project: Project, candidate: ModelVersion, champion: ModelVersion | None) -> OffPolicyEvidence:
    """Estimate from the log what a version's router would have reached, minus the champion's, in points of success.

    Without a champion it is held against the policy that made the log.

    Raises:
        CheckpointError: A router cannot be used.
        StorageError: The log cannot be read.
    """
    routers = [version.parts.get("router") if version is not None else None for version in (candidate, champion)]
    if routers[0] is None:
        return OffPolicyEvidence(measurable=False, why=f"version {candidate.version} has no router")
    if champion is not None and routers[1] is None:
        return OffPolicyEvidence(measurable=False, why=f"the champion, version {champion.version}, has no router")
    if routers[0] == routers[1]:
        return OffPolicyEvidence(measurable=False, why="both choose workers by the same router")
    from orchestai.evaluation.off_policy import estimate_gain
    from orchestai.evaluation.off_policy.policies import Policies

    makers = Policies(project.tasks, project.workers, project.routing)
    rows = [row for row in logged_rows(project).rows if makers.knows(row)]
    encoder = _encoder_of(project)
    ours, *theirs = (
        _routed(makers, router_folder(project_of(project, version.folder)), encoder)
        for version in (candidate, champion)
        if version is not None
    )
    found = estimate_gain(rows, ours, *theirs)
    if found.value is None or found.low is None or found.high is None:
        return OffPolicyEvidence(measurable=False, why=found.reason)
    against = f"version {champion.version}" if champion is not None else "what was logged"
    return OffPolicyEvidence(
        measurable=True,
        difference=100 * found.value,
        low=100 * found.low,
        high=100 * found.high,
        why=f"doubly robust, against {against}, over {found.executions} executions",
    )


def _all_policies(project: Project, logged: Sequence[str]) -> list[str]:
    learned = ["router"] if (router_folder(project) / "manifest.json").exists() else []
    return ["uniform", "cheapest", *learned, *(name for name in project.workers.names if name in set(logged))]


def _policy(project: Project, makers: Policies, name: str) -> TargetPolicy:
    if name == "uniform":
        return makers.uniform()
    if name == "cheapest":
        return makers.cheapest()
    if name == "router":
        return _routed(makers, router_folder(project), _encoder_of(project))
    return makers.always(project.workers[name].name)


def _encoder_of(project: Project) -> TextEncoder:
    from orchestai.embeddings import load_encoder

    return load_encoder(project.planner.encoder, cache_dir=project.paths.embeddings)


def _routed(makers: Policies, folder: Path, encoder: TextEncoder) -> TargetPolicy:
    import numpy as np

    from orchestai.routing.router import Router
    from orchestai.routing.store import load_router

    router = Router(load_router(folder, encoder=encoder.identity))

    @lru_cache(maxsize=4096)
    def embed(text: str) -> Any:
        return np.asarray(encoder.encode([text])[0], dtype=np.float64)

    return makers.routed(router, embed)
