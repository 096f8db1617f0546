"""`feedback`: say whether an answer was good."""

from __future__ import annotations

from pathlib import Path

import typer

from orchestai.app.feedback import give_feedback
from orchestai.cli.console import JsonOption, ProjectOption, TargetOption, open_project, out, plain, print_json
from orchestai.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(feedback)


def feedback(
    execution: str = typer.Argument(..., help="Id, or the beginning of it."),
    good: bool = typer.Option(False, "--good", help="The answer was good."),
    bad: bool = typer.Option(False, "--bad", help="It was not."),
    score: float = typer.Option(None, "--score", help="How good, between 0 and 1; from 0.5 on it is good."),
    note: str = typer.Option("", "--note", help="Why, in words."),
    judge: bool = typer.Option(False, "--judge", help="A judge among the models says so, not a person."),
    by: str = typer.Option("", "--by", help="Who says so."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Label the outcome of an execution; training believes the newest label more than the acceptance checks."""
    if good and bad:
        raise InputError("An answer is good or bad, not both.", remedy="Give one of --good and --bad.")
    record = give_feedback(
        open_project(project_dir, target),
        execution,
        success=True if good else False if bad else None,
        score=score,
        note=note,
        source="judge" if judge else "human",
        by=by,
    )
    if as_json:
        print_json(record.model_dump(mode="json"))
        return
    out.print(plain(f"{record.execution_id}: {'good' if record.success else 'bad'}"), soft_wrap=True)
