"""Versions of a planner that is scripted by its checkpoint; the registry around it is real."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from orchestai.checkpoint import save_checkpoint
from orchestai.checkpoint.manifest import ManifestFields
from orchestai.config import Project
from orchestai.contracts import Instruction, Subtask, WorkflowGraph
from orchestai.errors import CheckpointError
from orchestai.planner.planner import HybridPlanner, LearnedProposal
from orchestai.planner.rules import RulesPlanner
from orchestai.registry import open_registry
from orchestai.registry.store import registry_uri

BROKEN, WRONG = 13, 66


class Proposer:
    """Plans one sub-task, and knows which checkpoint it stands for."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._workers = workers
        self._number = json.loads((folder / "config.json").read_text())["number"]
        if self._number == BROKEN:
            raise CheckpointError("Version 13 cannot be loaded.")
        self.model_version = f"model-{self._number}"

    def propose(self, _instruction: Instruction) -> LearnedProposal:
        kind = "translation" if self._number == WRONG else "question_answering"
        graph = WorkflowGraph(nodes=(Subtask(task_type=kind),), dependencies=((),))
        return LearnedProposal(graph, 0.9, [[1.0] * self._workers])


def scripted_planner(
    version: Project, workforce: object, _prompts: object, *, learned: bool, **_more: object
) -> HybridPlanner:
    """Stands for `build_planner`."""
    folder = version.paths.checkpoints / "phase1"
    there = learned and (folder / "manifest.json").exists()
    return HybridPlanner(
        tasks=version.tasks,
        workers=workforce.catalog,  # type: ignore[attr-defined]
        routing=version.routing,
        rules=RulesPlanner(version.tasks),
        learned=Proposer(folder, len(version.workers.names)) if there else None,
        confidence_threshold=0.0,
    )


def train(project: Project, number: int) -> None:
    """Write the checkpoint of a planner."""
    fields = ManifestFields(kind="phase1", seed=number)
    save_checkpoint(project.paths.checkpoints / "phase1", {"w": torch.ones(1) * number}, {"number": number}, fields)


def register(project: Project, number: int) -> str:
    """Train and register, and return the version."""
    train(project, number)
    return open_registry(project).register().version


def give_database(project: Project, database: Path) -> None:
    """Give a project the empty tables, which MLflow takes seconds to make."""
    target = Path(registry_uri(project).removeprefix("sqlite:///"))
    target.parent.mkdir(parents=True)
    shutil.copy(database, target)
