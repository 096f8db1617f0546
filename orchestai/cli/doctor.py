"""`doctor`: says what works here and what to do about the rest."""

from __future__ import annotations

from pathlib import Path

import typer

from orchestai.app.diagnose import diagnose
from orchestai.cli.console import JsonOption, ProjectOption, TargetOption, open_project, out, print_json, safe


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(as_json: bool = JsonOption, project_dir: Path = ProjectOption, target: str = TargetOption) -> None:
    """Check configuration, storage, packaged model, encoder, keys, ports, GPU (exit code 1 on a failure)."""
    findings = diagnose(open_project(project_dir, target))
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        marks = {"ok": "[green]✓[/]", "note": "[yellow]·[/]", "failed": "[red]✗[/]"}
        for finding in findings:
            out.print(
                f"{marks[finding.state]} [bold]{safe(finding.name)}[/]: {safe(finding.message)}",
                highlight=False,
                soft_wrap=True,
            )
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(1)
