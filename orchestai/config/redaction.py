"""Keeps secret values out of everything that is shown."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from orchestai.errors import ConfigProblem

MASK = "***"
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def redact(value: Any, secrets: Collection[str]) -> Any:
    """Return `value` with every secret, and every password in a URL, replaced by `***`."""
    if isinstance(value, str):
        for secret in sorted(secrets, key=len, reverse=True):
            value = value.replace(secret, MASK)
        return _USER_INFO.sub(MASK, value)
    if isinstance(value, dict):
        return {key: redact(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item, secrets) for item in value]
    if isinstance(value, ConfigProblem):
        return replace(value, message=redact(value.message, secrets))
    return value
