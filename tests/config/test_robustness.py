"""Whatever stands in a file, the loader answers with a project or with problems that have a place."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestai.config import Settings, load_project, packaged_directory
from orchestai.config.document import KeyPath
from orchestai.errors import ConfigError, ConfigProblem

STRANGE: list[Any] = [
    *(None, [], {}, "", "x", -1, True, float("nan"), [None], [[]], {"a": 1}, {1: 2}, 10**30),
    *("{{ x }}", "{{ env_var('N') }}", "{% if %}", "s3://x", {"name": None}, [{"name": ["x"]}]),
]


def _keys(value: Any, key: KeyPath = ()) -> Iterator[KeyPath]:
    yield key
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from _keys(item, (*key, name))


def _put(value: Any, key: KeyPath, strange: Any) -> Any:
    if not key:
        return strange
    inner = value
    for part in key[:-1]:
        inner = inner[part]
    inner[key[-1]] = strange
    return value


@pytest.mark.parametrize("seed", range(40))
def test_strange_values_never_crash_the_loader(seed: int, tmp_path: Path) -> None:
    folder = tmp_path / "conf"
    shutil.copytree(packaged_directory(), folder, ignore=shutil.ignore_patterns("*.py", "schemas", "__pycache__"))
    draw = random.Random(seed)
    path = draw.choice(sorted(folder.rglob("*.yml")))
    content = yaml.safe_load(path.read_text())
    content = _put(content, draw.choice(list(_keys(content))), draw.choice(STRANGE))
    path.write_text(yaml.safe_dump(content))
    problems: list[ConfigProblem] = []
    try:
        load_project(folder, settings=Settings.from_mapping({}))
    except ConfigError as error:
        problems = error.problems
        if not problems:
            pytest.fail("an error without a problem")
    assert all(problem.file.startswith(str(folder)) for problem in problems)
