"""Builds the planner of a project: learned with a checkpoint, LLM if one is configured, rules always."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from orchestai.app.places import phase1_folder, phase2_folder, router_folder
from orchestai.app.workforce import Workforce
from orchestai.config import Project
from orchestai.contracts import Modality, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.errors import CheckpointError, OrchestAIError
from orchestai.planner.llm_planner import LLMPlanner
from orchestai.planner.planner import HybridPlanner, Proposer, WorkerRouter
from orchestai.planner.rules import RulesPlanner
from orchestai.prompts import PromptLibrary

if TYPE_CHECKING:
    from orchestai.embeddings.protocol import TextEncoder

_log = logging.getLogger(__name__)


def build_planner(
    project: Project,
    workforce: Workforce,
    prompts: PromptLibrary,
    *,
    learned: bool = True,
    stands_in: Callable[[str], bool] | None = None,
) -> HybridPlanner:
    """Put the planners of a project together.

    Args:
        project: The configuration.
        workforce: The workers; plans are made for those that are not left alone at the time.
        prompts: For the planning language model.
        learned: Use the learned planner and router where they are trained.
        stands_in: See `HybridPlanner`.

    Raises:
        CheckpointError: The checkpoint that is there cannot be used.
        InputError: `planner.llm_worker` names no worker.
    """
    config = project.planner
    encoders = _Encoders(project)
    llm = None
    name = _planning_worker(project, workforce)
    if name is not None:
        llm = LLMPlanner(_LateWorker(workforce, name), prompts, project.tasks, config.max_repairs)
    return HybridPlanner(
        tasks=project.tasks,
        workers=workforce.catalog,
        routing=project.routing,
        rules=RulesPlanner(project.tasks),
        learned=_load_learned(project, encoders) if learned else None,
        llm=llm,
        # On validation plans the learned planner beats the rules at every confidence (lab log), so an unsure
        # plan of it gives way to an LLM only.
        confidence_threshold=config.confidence_threshold if llm is not None else 0.0,
        direct=config.direct,
        router=_load_router(project, workforce, encoders) if learned else None,
        attendance=workforce,
        stands_in=stands_in,
    )


class _LateWorker:
    """A worker opened when it is first called: if its server cannot start, the rules still plan."""

    def __init__(self, workforce: Workforce, name: str) -> None:
        self._workforce = workforce
        self._name = name

    @property
    def profile(self) -> WorkerProfile:
        return self._workforce.catalog[self._name]

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        return await self._workforce[self._name].run(request)

    async def aclose(self) -> None:
        """Leave it to the workforce, which owns the worker."""


def _planning_worker(project: Project, workforce: Workforce) -> str | None:
    """Name the worker that plans when the learned planner is not sure; None leaves it to the rules.

    Without an explicit `planner.llm_worker` only a real endpoint of the user's qualifies: the packaged model
    has 135 M parameters and the simulated workers know nothing, so the rules plan better than either.
    """
    config = project.planner
    if config.fallback != "llm":
        return None
    if config.llm_worker is not None:
        return workforce.catalog[config.llm_worker].name
    able = [
        worker
        for worker in workforce.catalog.able(Modality.CHAT)
        if worker.base_url is not None and not worker.simulated
    ]
    dearest = max(able, key=lambda worker: worker.output_usd_per_mtok, default=None)
    return dearest.name if dearest is not None else None


def current_checkpoint(project: Project) -> Path | None:
    """Return the checkpoint that plans are made with, if there is one.

    That of Phase 2, if it was made from the Phase 1 checkpoint that is there now; else that of Phase 1.
    """
    path = project.planner.checkpoint or phase1_folder(project)
    if not (path / "manifest.json").exists():
        return None
    if project.planner.checkpoint is None and _goes_on(phase2_folder(project), path):
        return phase2_folder(project)
    return path


def _goes_on(phase2: Path, phase1: Path) -> bool:
    from orchestai.checkpoint import read_manifest

    if not (phase2 / "manifest.json").exists():
        return False
    try:
        return read_manifest(phase2).parents == (read_manifest(phase1).digest,)
    except CheckpointError:
        return False  # loading Phase 1 will say what is wrong with it


class _Encoders:
    """The project's encoder, loaded once, when the first checkpoint needs it: torch comes with it."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._encoder: TextEncoder | None = None

    def get(self) -> TextEncoder:
        if self._encoder is None:
            from orchestai.embeddings import load_encoder

            project = self._project
            self._encoder = load_encoder(project.planner.encoder, cache_dir=project.paths.embeddings)
        return self._encoder


def _load_learned(project: Project, encoders: _Encoders) -> Proposer | None:
    path = current_checkpoint(project)
    if path is None:
        return None
    # torch and the encoder load only where there is something to plan with
    from orchestai.planner.learned import LearnedPlanner

    return LearnedPlanner.load(path, encoder=encoders.get(), tasks=project.tasks, workers=project.workers)


def _load_router(project: Project, workforce: Workforce, encoders: _Encoders) -> WorkerRouter | None:
    """Load the router, if one is trained; one that cannot be used is said once, and the rule chooses."""
    path = project.routing.checkpoint or router_folder(project)
    if not (path / "manifest.json").exists():
        return None
    from orchestai.checkpoint import read_manifest
    from orchestai.routing.plan_router import PlanRouter
    from orchestai.routing.store import load_router

    try:
        encoder = encoders.get()
        model = load_router(path, encoder=encoder.identity)
        version = read_manifest(path).digest[:12]
        return PlanRouter(model, encoder, workforce.catalog, project.routing, version=version)
    except OrchestAIError as error:
        _log.warning("the router cannot be used, workers are chosen by rule: %s", error)
        return None
