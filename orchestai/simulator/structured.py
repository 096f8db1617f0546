"""Instances of a JSON schema, as far as the schemas go that we send; plans among them become chains."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Any

from orchestai.simulator.regex_sampler import sample_match

_PARENTS = frozenset({"dependencies", "depends_on", "parents"})
_MAX_DEPTH = 12
_DEFAULT_ITEMS = 2


def schema_instance(schema: Mapping[str, Any], *, text: str, about: str, rng: Random) -> Any:
    """Return a value that `schema` allows.

    Args:
        schema: JSON schema; `$ref` within it, `anyOf`, `allOf`, enums, bounds and patterns are followed.
        text: What free strings say.
        about: The instruction; enumerated task types that it hints at are preferred.
        rng: Source of the choices that are left.
    """
    return _Builder(schema, text, about.casefold(), rng).build(schema, 0)


class _Builder:
    def __init__(self, root: Mapping[str, Any], text: str, about: str, rng: Random) -> None:
        self._root = root
        self._text = text
        self._about = about
        self._rng = rng
        self._chosen: str | None = None

    def build(self, schema: Any, depth: int) -> Any:
        schema = self._resolve(schema)
        if depth > _MAX_DEPTH:
            return None
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._choose(schema["enum"])
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((option for option in kind if option != "null"), "null")
        if kind is None:
            kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer" | "number":
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return self._rng.random() < 0.5
            case "null":
                return None
        return self._string(schema)

    def _resolve(self, schema: Any) -> dict[str, Any]:
        if not isinstance(schema, Mapping):
            return {}
        for _ in range(_MAX_DEPTH):
            if isinstance(schema.get("$ref"), str):
                target: Any = self._root
                for part in schema["$ref"].removeprefix("#").strip("/").split("/"):
                    target = target.get(part, {}) if part else target
                schema = target
            elif schema.get("anyOf") or schema.get("oneOf"):
                options = schema.get("anyOf") or schema["oneOf"]
                schema = next((o for o in options if o.get("type") != "null"), options[0])
            elif schema.get("allOf"):
                merged = {key: value for key, value in schema.items() if key != "allOf"}
                for part in schema["allOf"]:
                    resolved = self._resolve(part)
                    properties = merged.get("properties", {}) | resolved.get("properties", {})
                    merged = {**resolved, **merged} | ({"properties": properties} if properties else {})
                schema = merged
            else:
                break
        return dict(schema)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties: dict[str, Any] = schema.get("properties", {})
        made: dict[str, Any] = {}
        for name, inner in properties.items():
            if name in _PARENTS and self._is_parent_lists(inner):
                continue  # filled below: it needs the number of nodes
            made[name] = self.build(inner, depth + 1)
        for name in properties:
            if name not in made:
                length = max((len(value) for value in made.values() if isinstance(value, list)), default=1)
                made[name] = [[index - 1] if index else [] for index in range(length)]
        for name in schema.get("required", ()):
            made.setdefault(name, self._text)
        return {name: made[name] for name in [*properties, *made] if name in made}

    def _is_parent_lists(self, schema: Any) -> bool:
        schema = self._resolve(schema)
        inner = self._resolve(schema.get("items"))
        return inner.get("type") == "array" and self._resolve(inner.get("items")).get("type") == "integer"

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        if "prefixItems" in schema:
            return [self.build(inner, depth + 1) for inner in schema["prefixItems"]]
        items = self._resolve(schema.get("items"))
        low = int(schema.get("minItems", 0))
        high = int(schema.get("maxItems", max(low, 20)))
        properties = items.get("properties", {})
        kinds = self._task_types(properties)
        if kinds:
            kinds = (kinds * max(low, 1))[: max(low, min(len(kinds), high))]
        elif high == 0:
            return []
        else:
            kinds = [None] * max(low, min(_DEFAULT_ITEMS, high))
        made = []
        for index, kind in enumerate(kinds):
            self._chosen = kind
            value = self.build(items, depth + 1)
            for name in _PARENTS & properties.keys() if isinstance(value, dict) else ():
                value[name] = [index - 1] if index else []
            made.append(value)
        self._chosen = None
        return made

    def _task_types(self, properties: Mapping[str, Any]) -> list[str | None]:
        """The enumerated kinds of node that the instruction hints at, in order of mention."""
        for name in ("task_type", "type", "kind"):
            options = self._resolve(properties.get(name)).get("enum")
            if options and all(isinstance(option, str) for option in options):
                hints = {option: _first_hint(option, self._about) for option in options}
                found = sorted((o for o in options if hints[o] is not None), key=lambda o: hints[o] or 0)
                fallback = "generation" if "generation" in options else options[0]
                return list(found[:4]) or [fallback]
        return []

    def _choose(self, options: list[Any]) -> Any:
        return self._chosen if self._chosen in options else self._rng.choice(options)

    def _string(self, schema: dict[str, Any]) -> str:
        if "pattern" in schema and not re.search(schema["pattern"], self._text):
            return sample_match(schema["pattern"]) or self._text
        text = self._text.ljust(int(schema.get("minLength", 0)), ".")
        return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _first_hint(option: str, about: str) -> int | None:
    stems = [part[:6] for part in option.casefold().split("_") if len(part) > 3 and part not in ("text", "generation")]
    places = [match.start() for stem in stems if (match := re.search(rf"\b{re.escape(stem)}", about))]
    return min(places, default=None)


def _number(schema: dict[str, Any], *, whole: bool) -> float:
    step: float = 1 if whole else 0.001
    value: float = schema.get("minimum", 0)
    if "exclusiveMinimum" in schema:
        value = schema["exclusiveMinimum"] + step
    top = schema.get("maximum")
    if "exclusiveMaximum" in schema:
        top = schema["exclusiveMaximum"] - step
    if top is not None and value > top:
        value = top
    multiple = schema.get("multipleOf")
    if multiple:
        value = -(-value // multiple) * multiple
    return int(value) if whole else value
