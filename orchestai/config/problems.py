"""From pydantic's errors to problems that say rule, value and remedy."""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from orchestai.config.document import Document, KeyPath
from orchestai.errors import ConfigProblem

Model = TypeVar("Model", bound=BaseModel)

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}
_BOUNDS = {
    "greater_than_equal": (">=", "ge"),
    "greater_than": (">", "gt"),
    "less_than_equal": ("<=", "le"),
    "less_than": ("<", "lt"),
}


def validate(document: Document, model: type[Model], at: KeyPath = ()) -> tuple[Model | None, list[ConfigProblem]]:
    """Return the part of `document` at `at` as `model`, or what is wrong with it."""
    data = _get(document.data, at)
    try:
        return _validate(model, data), []
    except ValidationError as error:
        first = error
    # YAML's rules made `00123` of a variable a number; where the field wants text, it is the text again.
    texts = [
        key
        for item in first.errors(include_url=False, include_input=False)
        if item["type"] == "string_type" and (key := (*at, *_key(item["loc"], data))) in document.rendered
    ]
    if texts:
        for key in texts:
            _get(document.data, key[:-1])[key[-1]] = document.rendered[key]
        return validate(document, model, at)
    return None, _problems(document, model, at, data, first)


def suggest(word: str, known: Iterable[str]) -> str:
    """Return 'Did you mean ...?', or the known words if none is near."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(words) or '(none)'}."


def _validate(model: type[Model], data: Any) -> Model:
    # As JSON and strict: a list may become a tuple and text a path, but "5" is no number and true is not 1.
    return model.model_validate_json(json.dumps(data, default=str), strict=True)


def _problems(
    document: Document, model: type[BaseModel], at: KeyPath, data: Any, error: ValidationError
) -> list[ConfigProblem]:
    found: list[ConfigProblem] = []
    for item in error.errors(include_url=False):
        here = _key(item["loc"], data)
        key = (*at, *here)
        if key in document.unresolved:
            continue
        context = item.get("ctx", {})
        if "nested" in context:
            under = (*key, context["under"])
            nested = _problems(document, context["model"], under, _get(document.data, under), context["nested"])
            found.extend(nested)
            continue
        message, remedy = _explain(item["type"], here, item, model)
        found.append(document.problem(key, message, remedy))
    return found


def _explain(kind: str, here: KeyPath, item: Any, model: type[BaseModel]) -> tuple[str, str | None]:
    value, context = item["input"], item.get("ctx", {})
    shown = _show(value)
    if kind == "extra_forbidden":
        return "is not a known key.", suggest(str(here[-1]), _fields_at(model, here[:-1]))
    if kind == "missing":
        return "is missing.", f"Add `{here[-1]}: ...`."
    if kind == "string_type":
        return f"must be text, got {shown}.", "Put it in quotes." if _is_scalar(value) else None
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, got {shown}.", None
    if kind in _BOUNDS:
        sign, bound = _BOUNDS[kind]
        return f"must be {sign} {context[bound]:g}, got {shown}.", None
    if kind in ("literal_error", "enum"):
        words = [word.strip("' ") for word in context["expected"].replace(" or ", ", ").split(",")]
        return f"must be one of {', '.join(words)}, got {shown}.", _close(value, words)
    if kind in ("string_too_short", "too_short"):
        return "must not be empty." if _is_scalar(value) else "must have at least one entry.", None
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}, got {shown}.", None
    if kind == "value_error":
        return str(context["error"]), None
    return f"{item['msg']}, got {shown}.", None


def _close(value: Any, words: Sequence[str]) -> str | None:
    close = difflib.get_close_matches(str(value), words, n=1)
    return f"Did you mean {close[0]!r}?" if close else None


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _show(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _key(location: Sequence[str | int], data: Any) -> KeyPath:
    """Drop what pydantic adds to a location: names of a union's members and of key checks."""
    key: list[str | int] = []
    for position, part in enumerate(location):
        last = position == len(location) - 1
        known = (isinstance(data, dict) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        )
        if known:
            key.append(part)
            data = data[part]
        elif last and isinstance(data, dict) and part != "[key]":
            key.append(part)
    return tuple(key)


def _get(data: Any, key: KeyPath) -> Any:
    for part in key:
        known = isinstance(part, int) if isinstance(data, list) else isinstance(data, dict) and part in data
        data = data[part] if known else None
    return data


def _fields_at(annotation: Any, key: KeyPath) -> list[str]:
    """Return the keys that are known at `key` below `annotation`."""
    for candidate in _members(annotation):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            if not key:
                return list(candidate.model_fields)
            field = candidate.model_fields.get(str(key[0]))
            if field is not None:
                return _fields_at(field.annotation, key[1:])
        elif key and (arguments := get_args(candidate)):
            value = arguments[1] if get_origin(candidate) is dict else arguments[0]
            return _fields_at(value, key[1:])
    return []


def _members(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(member for part in get_args(annotation) for member in _members(part))
    return (annotation,)
