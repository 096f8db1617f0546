"""What README and how-tos show can be copied: commands and options exist, Python imports what there is."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import warnings
from pathlib import Path

import click
import pytest

with warnings.catch_warnings():
    # typer imports names that click 8.4 deprecates
    warnings.filterwarnings("ignore", "'click", DeprecationWarning)
    import typer

    from orchestai.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "deploy" / "README.md"]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PLACEHOLDER = re.compile(r"^(\.\.\.|…)$")


def blocks(page: Path, *languages: str) -> list[str]:
    return [body for language, body in _BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for body in blocks(page, "", "bash", "sh", "console"):
            for line in body.replace("\\\n", " ").splitlines():
                for part in re.split(r"\s(?:&&|\|\|?|;)\s", line.removeprefix("$ ").split("  #")[0]):
                    words = part.strip()
                    if re.match(r"(?:[A-Z_]+=\S+ )*orchestai [a-z]", words):
                        found.append((str(page.relative_to(ROOT)), words[words.index("orchestai ") :]))
    return found


def python_blocks() -> list[tuple[str, str]]:
    return [(str(page.relative_to(ROOT)), body) for page in PAGES for body in blocks(page, "python")]


def test_there_is_something_to_look_at() -> None:
    assert len(commands()) > 25
    assert len(python_blocks()) > 10


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_and_its_options_exist(page: str, line: str) -> None:
    words = [word for word in shlex.split(line)[1:] if not _PLACEHOLDER.match(word)]
    command: click.Command = typer.main.get_command(app)
    while isinstance(command, click.Group):
        assert words, f"{page}: {line}"
        name = words.pop(0)
        assert name in command.commands, f"{page}: there is no command {name!r} in {line!r}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        option = word.split("=")[0]
        if option.startswith("-") and option not in ("-h", "--help"):
            assert option in known, f"{page}: `orchestai {command.name}` has no {option} ({line!r})"


@pytest.mark.parametrize(("page", "body"), python_blocks())
def test_python_imports_what_there_is(page: str, body: str) -> None:
    for node in ast.walk(ast.parse(body, page)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "orchestai":
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
