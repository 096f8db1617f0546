"""Prompts and answers as span attributes, where the configuration wants them there: without keys, and cut."""

from __future__ import annotations

import json
from collections.abc import Iterable

_MAX_CHARS = 16_384


class ContentWriter:
    """Writes content for spans.

    Args:
        secrets: Values that never leave the process.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: one secret may hold another.
        self._secrets = sorted(secrets, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]}…"

    def parts(self, text: str) -> str:
        """Return a text as the JSON of message parts."""
        return json.dumps([self._part(text)], ensure_ascii=False)

    def message(self, role: str, text: str, *, finish_reason: str | None = None) -> str:
        """Return a text as the JSON of a list of one message."""
        message: dict[str, object] = {"role": role, "parts": [self._part(text)]}
        if finish_reason is not None:
            message["finish_reason"] = finish_reason
        return json.dumps([message], ensure_ascii=False)

    def _part(self, text: str) -> dict[str, str]:
        return {"type": "text", "content": self.text(text)}
