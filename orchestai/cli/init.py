"""`init`: a user's own project."""

from __future__ import annotations

from pathlib import Path

import typer

from orchestai.app.scaffold import create_project
from orchestai.cli.console import out, safe


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)


def init(directory: Path = typer.Argument(..., help="Folder to make.")) -> None:
    """Write a project of your own: configuration to edit, workspace.yaml, dagster.yaml, .env.example."""
    for path in create_project(directory):
        out.print(f"  [green]+[/] {safe(path)}", highlight=False, soft_wrap=True)
    out.print(
        f"\nNext:\n  cd {safe(directory)}\n  orchestai config check --project configs\n"
        f'  orchestai run "Write a haiku about rivers" --project configs',
        highlight=False,
        soft_wrap=True,
    )
