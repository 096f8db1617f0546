"""`config`: check, show, and the JSON Schemas."""

from __future__ import annotations

from pathlib import Path

import typer
import yaml
from rich.syntax import Syntax

from orchestai.cli.console import (
    JsonOption,
    ProjectOption,
    TargetOption,
    open_project,
    out,
    plain,
    print_json,
    safe,
)
from orchestai.config import describe, write_schemas

_app = typer.Typer(help="Check and show the configuration.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_app, name="config")


@_app.command()
def check(project_dir: Path = ProjectOption, target: str = TargetOption) -> None:
    """Read every YAML file and report all problems at once (exit code 2 if there are any)."""
    project = open_project(project_dir, target)
    simulated = sum(worker.simulated for worker in project.workers.profiles())
    out.print(
        f"[green]✓[/] {safe(project.directory)} · target {safe(project.target)} · {len(project.tasks)} "
        f"task types · {len(project.workers)} workers ({simulated} simulated) · "
        f"{len(project.prompts)} prompts"
    )


@_app.command()
def show(
    section: str = typer.Argument(None, help="One part only: workers, planner, training, ..."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Print the configuration as it is in force; secrets are masked."""
    content = describe(open_project(project_dir, target))
    if section is not None:
        if section not in content:
            raise typer.BadParameter(f"unknown section {section!r}; there are: {', '.join(content)}")
        content = {section: content[section]}
    if as_json:
        print_json(content)
    else:
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        out.print(Syntax(text, "yaml", background_color="default"))


@_app.command()
def schemas(
    directory: Path = typer.Option(None, "--out", help="Folder to write to; the project's own if not given."),
    project_dir: Path = ProjectOption,
) -> None:
    """Write the JSON Schemas that editors complete and check the YAML files with."""
    folder = directory or open_project(project_dir, None).directory / "schemas"
    for path in write_schemas(folder):
        out.print(plain(path), soft_wrap=True)
