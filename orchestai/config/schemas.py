"""JSON Schemas of the YAML kinds, for completion and hints in editors."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from orchestai.config.expectations import ARGUMENTS, Expectation
from orchestai.config.files import KINDS, PROFILES, Kind

_TEMPLATE = {
    "type": "string",
    "pattern": r"\{\{|\{%",
    "description": "A value by env_var('NAME', 'default').",
}
_ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n {6,}.+)*)", re.MULTILINE)


def write_schemas(directory: Path) -> list[Path]:
    """Write one JSON Schema a kind into `directory` and return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in KINDS:
        path = directory / f"{kind.name}.json"
        path.write_text(json.dumps(schema_of(kind), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written


def schema_of(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema of one kind of file."""
    schema = kind.model.model_json_schema()
    definitions: dict[str, Any] = schema.setdefault("$defs", {})
    for model in {kind.model, *_models_of(kind.model)}:
        part = schema if model is kind.model else definitions.get(model.__name__)
        if part is not None:
            _describe_properties(part, model)
            if model is Expectation:
                _add_arguments(part, definitions)
    if kind.rendered:
        for part in (schema, *definitions.values()):
            _allow_templates(part)
        definitions["Template"] = _TEMPLATE
    if not definitions:
        del schema["$defs"]
    if kind is PROFILES:
        schema = _by_name(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _by_name(profile: dict[str, Any]) -> dict[str, Any]:
    definitions = profile.pop("$defs", {})
    return {
        "title": "Profiles",
        "description": "`profiles.yml`: the profiles by name.",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": profile,
        "$defs": definitions,
    }


def _models_of(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for field in model.model_fields.values():
        for member in _walk(field.annotation):
            if isinstance(member, type) and issubclass(member, BaseModel):
                yield member
                yield from _models_of(member)


def _walk(annotation: Any) -> Iterator[Any]:
    yield annotation
    for argument in get_args(annotation):
        yield from _walk(argument)


def _describe_properties(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Take descriptions from `Attributes:` of the docstrings, the one place where fields are explained."""
    docs: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base.__doc__:
            _, _, attributes = inspect.cleandoc(base.__doc__).partition("Attributes:\n")
            docs.update({name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(attributes)})
    schema["description"] = inspect.cleandoc(model.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    for name, field in schema.get("properties", {}).items():
        if name in docs:
            field["description"] = docs[name]
        field.pop("title", None)


def _add_arguments(schema: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Say which arguments belong to which rule."""
    rules = []
    for name, model in ARGUMENTS.items():
        arguments = model.model_json_schema()
        _describe_properties(arguments, model)
        definitions[model.__name__] = arguments
        then: dict[str, Any] = {"properties": {"kwargs": {"$ref": f"#/$defs/{model.__name__}"}}}
        then["required"] = ["kwargs"] if arguments.get("required") or "min" in arguments["properties"] else []
        rules.append({"if": {"properties": {"type": {"const": name}}}, "then": then})
    schema["allOf"] = rules


def _allow_templates(schema: dict[str, Any]) -> None:
    """Any value that is not free text may also be written as a template."""
    for name, field in schema.get("properties", {}).items():
        schema["properties"][name] = _or_template(field)
    entries = schema.get("additionalProperties")
    if isinstance(entries, dict):
        schema["additionalProperties"] = _or_template(entries)


def _or_template(field: dict[str, Any]) -> dict[str, Any]:
    inner = field.get("additionalProperties")
    if isinstance(inner, dict):
        field = {**field, "additionalProperties": _or_template(inner)}
    if field.get("type") == "string" and not {"enum", "const", "pattern"} & field.keys():
        return field
    outside: dict[str, Any] = {key: field[key] for key in ("description", "default") if key in field}
    inside = {key: value for key, value in field.items() if key not in outside}
    alternatives = inside["anyOf"] if set(inside) == {"anyOf"} else [inside]
    return {"anyOf": [*alternatives, {"$ref": "#/$defs/Template"}], **outside}
