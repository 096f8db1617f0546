from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from orchestai.config import packaged_directory, write_schemas
from orchestai.config.files import KINDS, find_files
from orchestai.config.schemas import schema_of

FOLDER = packaged_directory()
FILES = [(kind, path) for kind in KINDS for path in find_files(FOLDER)[0][kind.name]]


def _kind(name: str):
    return next(kind for kind in KINDS if kind.name == name)


def test_shipped_schemas_are_current(tmp_path: Path) -> None:
    written = write_schemas(tmp_path)
    shipped = sorted(path.name for path in (FOLDER / "schemas").glob("*.json"))
    assert shipped == sorted(path.name for path in written)
    for path in written:
        current = (FOLDER / "schemas" / path.name).read_text()
        assert current == path.read_text(), "run `make schemas`"


@pytest.mark.parametrize(("kind", "path"), FILES, ids=[str(path.relative_to(FOLDER)) for _, path in FILES])
def test_shipped_files_follow_their_schema_and_name_it(kind, path: Path) -> None:
    schema = schema_of(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(path.read_text()), schema)
    first = path.read_text().splitlines()[0]
    prefix = "# yaml-language-server: $schema="
    assert first.startswith(prefix)
    assert (path.parent / first.removeprefix(prefix)).resolve() == FOLDER / "schemas" / f"{kind.name}.json"


def test_every_kind_is_shipped() -> None:
    assert {kind.name for kind, _ in FILES} == {kind.name for kind in KINDS}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("project", {"engine": {"max_atempts": 3}}),
        ("project", {"engine": {"max_attempts": "three"}}),
        ("project", {"planner": {"gnn": "mlp"}}),
        ("training_phase1", {"epochs": 0}),
        ("rewards", {"cost": 1}),
        ("expectations", {"table": "t", "expectations": [{"type": "matches", "column": "c"}]}),
        (
            "expectations",
            {"table": "t", "expectations": [{"type": "between", "column": "c", "kwargs": {"minimum": 1}}]},
        ),
    ],
)
def test_schemas_refuse_what_the_loader_refuses(kind: str, change: dict[str, object]) -> None:
    base = {"name": "x", "profile": "y"} if kind == "project" else {}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**base, **change}, schema_of(_kind(kind)))


def test_a_template_may_stand_for_a_number_and_a_choice() -> None:
    value = "{{ env_var('X', '3') }}"
    settings = {
        "engine": {"max_attempts": value},
        "planner": {"gnn": value},
        "dagster": {"pools": {"gpu": value}},
    }
    jsonschema.validate({"name": "x", "profile": "y", **settings}, schema_of(_kind("project")))


def test_fields_are_explained() -> None:
    schema = schema_of(_kind("workers"))
    properties = schema["$defs"]["WorkerProfile"]["properties"]
    assert properties["input_usd_per_mtok"]["description"] == "Dollars a million input tokens."
    missing = [
        f"{kind.name}: {owner}.{name}"
        for kind in KINDS
        for owner, part in {**schema_of(kind).get("$defs", {}), kind.name: schema_of(kind)}.items()
        for name, field in part.get("properties", {}).items()
        if "description" not in field
    ]
    assert missing == []
    assert json.dumps(schema).count("Attributes:") == 0
