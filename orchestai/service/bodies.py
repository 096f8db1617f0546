"""Reading JSON from strangers: bounded in size, time and depth, and strict about what it says."""

from __future__ import annotations

import asyncio
import difflib
import json
import re
import types
from collections.abc import Iterator
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from orchestai.config import ServiceConfig
from orchestai.service.metrics import ServiceMetrics
from orchestai.service.problems import ProblemError

Model = TypeVar("Model", bound=BaseModel)

MAX_DEPTH = 32
_BIG = 256 * 1024
"""From this size on, a body is parsed beside the event loop, which would stand still meanwhile."""

_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class BodyReader:
    """Reads bodies, and bounds what all of them take together.

    Args:
        config: The bounds.
        metrics: Told what is held and what is refused.
    """

    def __init__(self, config: ServiceConfig, metrics: ServiceMetrics) -> None:
        self._config = config
        self._metrics = metrics
        self._held = 0

    async def read(self, request: Request, model: type[Model]) -> Model:
        """Read the body of a request as `model`.

        Raises:
            ProblemError: It is too large, too slow, not JSON, or not what `model` says.
        """
        check_content_type(request)
        limit = self._config.max_body_bytes
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise self._too_large(int(declared))
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(self._config.body_timeout_s):
                    async for chunk in request.stream():
                        self._hold(len(chunk))
                        body += chunk
                        if len(body) > limit:
                            raise self._too_large(len(body))
            except TimeoutError:
                self._metrics.reject("slow_body")
                raise ProblemError(
                    408,
                    "slow_body",
                    f"The body did not arrive within {self._config.body_timeout_s:g} s.",
                    headers={"Connection": "close"},
                ) from None
            except ClientDisconnect:
                raise ProblemError(400, "incomplete_body", "The connection ended before the body did.") from None
            if len(body) > _BIG:
                return await asyncio.to_thread(parse, bytes(body), model)
            return parse(bytes(body), model)
        finally:
            self._hold(-len(body))

    def _hold(self, size: int) -> None:
        if size > 0 and self._held + size > self._config.max_buffered_bytes:
            self._metrics.reject("buffers")
            raise ProblemError(
                503,
                "overloaded",
                "Other requests fill the memory for bodies.",
                retry_after_s=1,
                headers={"Connection": "close"},
            )
        self._held += size
        self._metrics.buffered.set(self._held)

    def _too_large(self, size: int) -> ProblemError:
        self._metrics.reject("too_large")
        return ProblemError(
            413,
            "body_too_large",
            f"The body has {size:,} bytes or more; {self._config.max_body_bytes:,} are allowed.",
            remedy="Send less, or raise `service.max_body_bytes`.",
            headers={"Connection": "close"},
        )


def check_content_type(request: Request) -> None:
    """Demand JSON. Browsers cannot send it to a foreign site unasked, so this also keeps foreign pages out.

    Raises:
        ProblemError: The body is something else.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ProblemError(
            415,
            "not_json",
            f"The content type must be application/json, got {kind or '(none)'!r:.80}.",
            remedy="Send `Content-Type: application/json`.",
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError(415, "encoded_body", "Encoded bodies are not read.", remedy="Send the JSON as it is.")


def parse(body: bytes, model: type[Model]) -> Model:
    """Read a JSON document as `model`.

    Raises:
        ProblemError: It is not JSON, or not what `model` says; unknown fields are named with the nearest known one.
    """
    data = loads(body)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        errors = [_explain(item, model) for item in error.errors(include_url=False, include_context=False)]
        raise ProblemError(
            400,
            "invalid_request",
            "; ".join(f"`{each['field']}`: {each['message']}" for each in errors[:5]),
            remedy=errors[0].get("remedy"),
            errors=errors[:20],
        ) from None


def loads(body: bytes) -> Any:
    """Read JSON as RFC 8259 has it: UTF-8, no NaN, every key once, not too deep.

    Raises:
        ProblemError: It is not.
    """
    try:
        text = body.decode("utf-8")
        data = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise ProblemError(400, "invalid_json", f"The body is not UTF-8 (byte {error.start}).") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ProblemError(400, "invalid_json", f"The body is not JSON: {error.msg} ({place}).") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise ProblemError(400, "invalid_json", f"The body is not JSON: {error}") from None
    if _ESCAPED_SURROGATE.search(body):
        _check_surrogates(data)
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(data) > MAX_DEPTH:
        raise _too_deep()
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r:.80} stands twice in one object.")
    return found


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number.")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text:.40} is too large.")
    return value


def _check_surrogates(data: Any) -> None:
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ProblemError(
            400, "invalid_json", "A string holds half of a surrogate pair (\\ud800 to \\udfff alone)."
        ) from None


def _depth(data: Any) -> int:
    deepest, level = 0, [data]
    while level:
        deepest += 1
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    return deepest


def _too_deep() -> ProblemError:
    return ProblemError(400, "invalid_json", f"The JSON is nested more than {MAX_DEPTH} levels deep.")


def _explain(item: Any, model: type[BaseModel]) -> dict[str, Any]:
    path = tuple(item["loc"])
    field = ".".join(map(str, path)) or "(body)"
    if item["type"] == "extra_forbidden":
        known = sorted(_fields(model, path[:-1]))
        close = difflib.get_close_matches(str(path[-1]), known, n=1)
        remedy = f"Did you mean `{close[0]}`?" if close else f"Known: {', '.join(known)}."
        return {"field": f"{field:.200}", "message": "unknown field.", "remedy": remedy}
    message = str(item["msg"]).removeprefix("Value error, ").rstrip(".")
    value = "" if item["type"] == "missing" else f", got {item['input']!r:.80}"
    return {"field": f"{field:.200}", "message": f"{message}{value}."}


def _fields(model: type[BaseModel], path: tuple[Any, ...]) -> set[str]:
    """Return the names of the fields at a place inside `model`."""
    models = {model}
    for part in path:
        if isinstance(part, str):
            inner = {found for each in models if part in each.model_fields
                     for found in _models(each.model_fields[part].annotation)}  # fmt: skip
            models = inner or models  # a part that is no field names a choice of a union
    return {name for each in models for name in each.model_fields}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not None or isinstance(annotation, types.UnionType | type(Union)):
        for argument in get_args(annotation):
            yield from _models(argument)
