"""The image is built in stages, runs without root and names no registry but Docker's own."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", TEXT)).splitlines()
    if line.strip()
]


def arguments(name: str) -> list[str]:
    return [rest for keyword, rest in INSTRUCTIONS if keyword == name]


def test_two_stages_on_the_public_slim_image() -> None:
    assert arguments("FROM") == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE} AS runtime"]
    assert "PYTHON_IMAGE=python:3.11-slim" in arguments("ARG")


def test_the_torch_index_has_no_default() -> None:
    assert "TORCH_INDEX_URL=" in arguments("ARG")
    assert "://" not in TEXT


def test_the_last_user_is_not_root() -> None:
    user = arguments("USER")[-1]
    assert int(user.split(":")[0]) >= 1000
    assert INSTRUCTIONS.index(["USER", user]) < INSTRUCTIONS.index(["CMD", arguments("CMD")[0]])


@pytest.mark.parametrize("copied", [rest for rest in arguments("COPY") if "--from" not in rest])
def test_what_is_copied_is_in_the_build_context(copied: str) -> None:
    allowed = (ROOT / "deploy" / "Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    sources = [part for part in copied.split()[:-1] if not part.startswith("--")]
    for source in sources:
        assert f"!{source}" in allowed, f"{source} is left out by Containerfile.dockerignore"


def test_every_package_of_the_wheel_is_copied() -> None:
    import tomllib

    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    copied = {rest.split()[0] for rest in arguments("COPY")}
    assert set(wheel["targets"]["wheel"]["packages"]) <= copied
