"""`train structure` and `structure`: who waits for whom among steps in plain words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from orchestai.cli.console import (
    JsonOption,
    ProjectOption,
    TargetOption,
    err,
    open_project,
    out,
    plain,
    print_json,
    safe,
)
from orchestai.cli.progress import progress_bar
from orchestai.config import Project
from orchestai.errors import InputError

if TYPE_CHECKING:
    from orchestai.embeddings import TextEncoder


def register(app: typer.Typer) -> None:
    """Add the command; `train structure` is added to the commands of `train`."""
    app.command()(structure)


def train(
    data: Path = typer.Option(..., "--data", help="Folder in the AsyncHow format: plans.json, also .zst."),
    output: Path = typer.Option(None, "--out", help="Folder of the checkpoint."),
    seed: int = typer.Option(0, "--seed", min=0, help="Equal seeds give equal weights."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Learn which steps wait for which, from plans whose graphs are known."""
    from orchestai.importers.asynchow import read_step_plans
    from orchestai.training.structure import StructureRecipe, train_structure

    project = open_project(project_dir, target)
    plans, rejected = read_step_plans(data)
    if rejected:
        err.print(f"{rejected} records are no plans and were left out.")
    recipe = StructureRecipe(seed=seed)
    folder = output or _folder(project)
    with progress_bar() as bar:
        task = bar.add_task("Structure", total=recipe.epochs * recipe.members, note="")
        result = train_structure(
            recipe, plans, encoder=_encoder(project), out=folder, on_epoch=lambda _row: bar.advance(task)
        )
    if as_json:
        print_json({"checkpoint": result.checkpoint, "plans": len(plans), "seconds": result.seconds})
        return
    line = f"{len(plans)} plans, {result.seconds:.0f} s. Checkpoint: {safe(result.checkpoint)}"
    out.print(line, highlight=False, soft_wrap=True)


def structure(
    goal: str = typer.Argument(help="What the steps are for."),
    steps: list[str] = typer.Argument(None, help="The steps, in the order in which you would write them down."),
    checkpoint: Path = typer.Option(None, "--checkpoint", help="Folder that `train structure` wrote."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Say which of some steps wait for which others; without steps, they are read from standard input, a line each."""
    from orchestai.planner.structure import StepStructure

    project = open_project(project_dir, target)
    given = steps or [line.strip() for line in sys.stdin if line.strip()]
    folder = checkpoint or _folder(project)
    if not (folder / "manifest.json").exists():
        raise InputError(f"There is no model in {folder}.", remedy="Run `orchestai train structure --data DIR` first.")
    found = StepStructure.load(folder, encoder=_encoder(project)).predict(goal, given)
    if as_json:
        print_json({"goal": goal, "steps": given, "dependencies": found.dependencies})
        return
    for index, (step, parents) in enumerate(zip(given, found.dependencies, strict=True)):
        waits = f"  after {', '.join(map(str, parents))}" if parents else "  at once"
        out.print(plain(f"{index} {step}").append(waits, style="dim"), soft_wrap=True)


def _folder(project: Project) -> Path:
    return project.paths.checkpoints / "structure"


def _encoder(project: Project) -> TextEncoder:
    from orchestai.embeddings import load_encoder

    return load_encoder(project.planner.encoder, cache_dir=project.paths.embeddings)
