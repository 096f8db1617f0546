"""One record, one line: JSON with a CRC32 of itself, and tensors by content hash."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import zlib
from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json

_CRC_TAIL = re.compile(rb',"crc":"([0-9a-f]{8})"\}\Z')
_SURROGATE = re.compile("[\ud800-\udfff]")


class LineError(ValueError):
    """A line that is not a record.

    Args:
        reason: Word for counting: `encoding`, `json`, `crc`, `schema`, ...
        detail: What exactly is wrong.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def encode_line(fields: Mapping[str, Any]) -> bytes:
    """Return `fields` as a line with its CRC, without the line break."""
    return seal_line(json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode())


def seal_line(body: bytes) -> bytes:
    """Return a JSON object as a line with its CRC."""
    return b'%s,"crc":"%08x"}' % (body[:-1], zlib.crc32(body))


def decode_line(line: bytes, *, crc_required: bool) -> dict[str, Any]:
    """Return the fields of a line, its CRC checked and taken out.

    Args:
        line: Without the line break.
        crc_required: Whether a line without a CRC is refused; plain files have none.

    Raises:
        LineError: It is not UTF-8, not a JSON object, or not what was written.
    """
    tail = _CRC_TAIL.search(line)
    if tail:
        body = line[: tail.start()] + b"}"
        if zlib.crc32(body) != int(tail[1], 16):
            raise LineError("crc", f"the line says {tail[1].decode()}, its bytes give {zlib.crc32(body):08x}")
    else:
        body = line
    fields = _parse(body)
    if not tail and (crc_required or "crc" in fields):
        raise LineError("crc", "the line has no CRC at its end")
    return fields


def _parse(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LineError("encoding", f"not UTF-8 at byte {error.start}") from error
    try:
        fields = from_json(body, allow_inf_nan=False)
    except (RecursionError, ValueError):
        # Slower, but it takes the half characters that the quick parser refuses, and says more about the rest.
        fields = _parse_slowly(text)
    if not isinstance(fields, dict):
        raise LineError("json", f"not an object but {type(fields).__name__}")
    # Escapes can smuggle in half characters, which no UTF-8 file can hold later on.
    cleaned: dict[str, Any] = to_json(fields) if "\\ud" in text or "\\uD" in text else fields
    return cleaned


def _parse_slowly(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise LineError("json", "nested too deeply") from error
    except ValueError as error:
        raise LineError("json", str(error)[:200]) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_AS_THEY_ARE = frozenset({bool, int, type(None)})


def to_json(value: Any, *, full: bool = False, name: str = "") -> Any:
    """Return `value` in terms of JSON.

    Arrays and tensors become `{dtype, shape, sha256}`, and with `full` their values too, but for
    embeddings: these can be computed again from the text, so that the hash is enough to name them.
    Numbers that JSON lacks become null, half characters U+FFFD.

    Args:
        value: Anything.
        full: Whether to keep the values of arrays.
        name: Key under which the value stands.
    """
    kind = type(value)
    if kind in _AS_THEY_ARE or (kind is str and value.isascii()):
        return value
    if kind is dict:
        return {_key(key): to_json(item, full=full, name=str(key)) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [to_json(item, full=full, name=name) for item in value]
    if kind is not str and hasattr(value, "shape") and hasattr(value, "dtype"):
        return _array(value, full=full and "embedding" not in name)
    match value:
        case BaseModel():
            return to_json(value.model_dump(), full=full, name=name)
        case Mapping():
            return {_key(key): to_json(item, full=full, name=str(key)) for key, item in value.items()}
        case list() | tuple():
            return [to_json(item, full=full, name=name) for item in value]
        case set() | frozenset():
            return sorted((to_json(item, full=full, name=name) for item in value), key=str)
        case bytes() | bytearray() | memoryview():
            return _bytes(bytes(value), full=full)
    return _scalar(value)


def _key(key: Any) -> str:
    text = key if type(key) is str else str(key)
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _scalar(value: Any) -> Any:
    match value:
        case None | bool():
            return value
        case Enum():
            return to_json(value.value)
        case str():
            return _SURROGATE.sub("\ufffd", value)
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case datetime() | date():
            return value.isoformat()
    return _scalar(str(value) if isinstance(value, PurePath) else repr(value))


def _bytes(value: bytes, *, full: bool) -> dict[str, Any]:
    reference: dict[str, Any] = {"bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
    return {**reference, "base64": base64.b64encode(value).decode()} if full else reference


def _array(value: Any, *, full: bool) -> Any:
    import numpy as np

    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if "bfloat16" in str(value.dtype):  # numpy has no such type; float32 holds every value of it
            value = value.float()
        value = value.numpy()
    array = np.ascontiguousarray(value)
    if array.ndim == 0 or np.ndim(value) == 0:
        return to_json(array.reshape(-1)[0].item())
    reference: dict[str, Any] = {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
    }
    return {**reference, "values": to_json(array.tolist())} if full else reference
