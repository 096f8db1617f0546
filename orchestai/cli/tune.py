"""`tune`: search the numbers of the Phase 1 recipe on validation plans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from orchestai.app.learning import read_examples
from orchestai.app.places import training_folder
from orchestai.app.tuning import describe, tune_phase1
from orchestai.cli.console import JsonOption, ProjectOption, TargetOption, open_project, out, print_json, safe
from orchestai.cli.progress import progress_bar
from orchestai.config import read_phase1, write_phase1

if TYPE_CHECKING:
    from orchestai.training.search import Trial


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tune)


def tune(
    data: Path = typer.Option(None, "--data", help="Folder of an import or of training data."),
    output: Path = typer.Option(None, "--out", help="Folder of study.json and of the best recipe."),
    trials: int = typer.Option(20, "--trials", min=1, help="Trials that the study shall have, earlier ones included."),
    timeout: float = typer.Option(None, "--timeout", min=0.001, help="Seconds after which the search ends."),
    config: Path = typer.Option(None, "--config", help="Recipe to begin with; the project's if not given."),
    epochs: int = typer.Option(None, "--epochs", min=1, help="Epochs a trial, at most."),
    write: Path = typer.Option(None, "--write", help="Also write the best recipe here, as a training/phase1.yml."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Search the numbers of the Phase 1 recipe; a search that was stopped goes on when started again."""
    project = open_project(project_dir, target)
    source = data or training_folder(project)
    given = read_phase1(config) if config is not None else project.training.phase1
    limited = given if epochs is None else given.model_copy(update={"epochs": epochs})
    examples, tasks, workers = read_examples(project, source)
    with progress_bar() as bar:
        whole = bar.add_task("Search", total=trials, note="")
        part = bar.add_task("Trial", total=limited.epochs, note="")

        def on_epoch(number: int, row: dict[str, Any]) -> None:
            bar.update(
                part, description=f"Trial {number}", completed=row["epoch"], note=f"loss {row['train_loss']:.3f}"
            )

        def on_trial(trial: Trial, best: float | None) -> None:
            note = "" if best is None else f"best {100 * best:.1f}"
            bar.update(whole, completed=min(trial.number + 1, trials), note=note)

        found = tune_phase1(
            project,
            examples,
            tasks=tasks,
            workers=workers,
            out=output or project.paths.reports / "tuning",
            trials=trials,
            timeout_s=timeout,
            config=limited,
            on_epoch=on_epoch,
            on_trial=on_trial,
        )
    # Epochs were limited for the search only.
    best = found.best.model_copy(update={"epochs": given.epochs})
    if write is not None:
        write_phase1(write, best, note=describe(found))
    if as_json:
        print_json({"best": best.model_dump(mode="json"), "value": found.value, "given": found.given})
        return
    out.print(describe(found), highlight=False, soft_wrap=True)
    for name, value in best.model_dump(mode="json").items():
        before = getattr(given, name)
        changed = (
            "" if before == value else f"   (was {before:g})" if isinstance(before, float) else f"   (was {before})"
        )
        out.print(f"  {name}: {value:.6g}{changed}" if isinstance(value, float) else f"  {name}: {value}{changed}")
    if write is not None:
        out.print(f"Written to {safe(write)}", soft_wrap=True)
