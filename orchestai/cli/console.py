"""The two consoles, what is common to all commands, and how amounts are written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from orchestai.config import Project, Settings, load_project

out = Console()
err = Console(stderr=True)

TargetOption = typer.Option(None, "--target", "-t", help="Target of profiles.yml (dev, ci, prod).")
ProjectOption = typer.Option(None, "--project", help="Folder of the YAML configuration.")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\ud800-\udfff]")

JsonOption = typer.Option(False, "--json", help="Print JSON for machines.")


def open_project(directory: Path | None, target: str | None) -> Project:
    """Load the configuration that a command asked for.

    Raises:
        ConfigError: It is wrong.
    """
    return load_project(directory, target=target, settings=Settings.load())


def print_json(value: Any) -> None:
    """Write JSON to standard output, one document, no colours."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    # JSON itself escapes the lower control characters only.
    typer.echo(_UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def clean(text: object) -> str:
    """Return foreign text without control characters, which a terminal obeys; tab and line break stay."""
    return _CONTROL.sub("", str(text))


def plain(text: object, style: str = "") -> Text:
    """Return foreign text for a table or panel: no markup, emoji codes or control characters take effect."""
    return Text(clean(text), style=style)


def safe(text: object) -> str:
    """Return foreign text for use inside a marked-up line."""
    return escape(clean(text))


def print_error(code: str, message: object) -> None:
    """Write an error to standard error, unwrapped, so that paths and places stay whole."""
    err.print(
        Text(code, style="bold red").append(": ").append(clean(message), style="not bold default"),
        soft_wrap=True,
    )


def dollars(amount: float) -> str:
    """Write an amount of money so that small ones stay visible."""
    if amount == 0:
        return "$0"
    return f"${amount:.6f}" if amount < 0.01 else f"${amount:.4f}"


def milliseconds(amount: float) -> str:
    """Write a time in ms, or in s from one second on."""
    return f"{amount:.0f} ms" if amount < 1000 else f"{amount / 1000:.1f} s"
