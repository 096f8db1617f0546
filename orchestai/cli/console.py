"""The two consoles, what is common to all commands, and how amounts are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from orchestai.config import Project, Settings, load_project

out = Console()
err = Console(stderr=True)

TargetOption = typer.Option(None, "--target", "-t", help="Target of profiles.yml (dev, ci, prod).")
ProjectOption = typer.Option(None, "--project", help="Folder of the YAML configuration.")
JsonOption = typer.Option(False, "--json", help="Print JSON for machines.")


def open_project(directory: Path | None, target: str | None) -> Project:
    """Load the configuration that a command asked for.

    Raises:
        ConfigError: It is wrong.
    """
    return load_project(directory, target=target, settings=Settings.load())


def print_json(value: Any) -> None:
    """Write JSON to standard output, one document, no colours."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def dollars(amount: float) -> str:
    """Write an amount of money so that small ones stay visible."""
    if amount == 0:
        return "$0"
    return f"${amount:.6f}" if amount < 0.01 else f"${amount:.4f}"


def milliseconds(amount: float) -> str:
    """Write a time in ms, or in s from one second on."""
    return f"{amount:.0f} ms" if amount < 1000 else f"{amount / 1000:.1f} s"
