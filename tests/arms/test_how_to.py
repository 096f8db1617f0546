"""The complete examples of docs/how-to/arms.md run and print what the page shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestai.config import SandboxConfig, Settings, load_project

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "arms.md"
EXAMPLES = re.findall(
    r"```python\n(import asyncio\n.*?)```\n\n```\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
)


def test_the_examples_are_found() -> None:
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize(("code", "printed"), EXAMPLES, ids=["sandbox", "retriever"])
def test_an_example(code: str, printed: str, limits: SandboxConfig, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.stderr, done.stdout) == ("", printed)


def test_the_page_shows_the_defaults() -> None:
    packaged = load_project(settings=Settings.from_mapping({})).arms
    assert packaged.sandbox == SandboxConfig()
    page = PAGE.read_text(encoding="utf-8")
    sandbox = packaged.sandbox
    for row in (
        f"| `wall_s` | {sandbox.wall_s:g} s |",
        f"| {sandbox.memory_mb} MiB |",
        f"| {sandbox.processes} |",
        f"| {sandbox.file_mb} MiB, {sandbox.work_mb} MiB, {sandbox.work_files:,} |",
        f"| {sandbox.output_kb} KiB |",
    ):
        assert row in page
