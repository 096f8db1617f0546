"""A streamed chat completion: pieces of text as they come, and what they add up to."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from orchestai.errors import MalformedResponseError, OrchestAIError
from orchestai.workers.chat_format import Answer, check_refusal, malformed, mend_text, read_completion
from orchestai.workers.http import MAX_JSON_BYTES, Reply, decode_object
from orchestai.workers.sse import EventParser, EventTooLongError
from orchestai.workers.status_errors import Callee, status_error

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_MAX_EVENT_BYTES = 2**20
_FIRST_HALF = ("\ud800", "\udbff")


class ChatStream:
    """Reads one streamed answer; `answer` is complete when `pieces` has ended.

    Args:
        response: The answer's head; the caller closes it.
        callee: Who answers, for errors.
        secret: The key in use, which is cut out of what the endpoint says.
    """

    def __init__(self, response: ClientResponse, callee: Callee, secret: SecretStr | None) -> None:
        self._response = response
        self._callee = callee
        self._secret = secret
        self._texts: list[str] = []
        self._held = ""
        self._done = False
        self.answer = Answer()

    async def pieces(self) -> AsyncGenerator[str, None]:
        """Give the texts in order; none is empty.

        Raises:
            MalformedResponseError: The stream breaks off, or is none.
            WorkerError: The endpoint reports an error in the middle.
        """
        kind = self._response.headers.get("content-type", "")
        if "event-stream" not in kind.lower():
            text = await self._whole()
            if text:
                yield text
            return
        parser = EventParser(_MAX_EVENT_BYTES)
        size = 0
        while not self._done:
            chunk = await self._response.content.readany()
            size += len(chunk)
            if size > MAX_JSON_BYTES:
                raise self._broken(f"sent more than the {MAX_JSON_BYTES:,} bytes that an answer may have.")
            try:
                events = parser.feed(chunk) if chunk else parser.finish()
            except EventTooLongError as error:
                raise self._broken(f"sent a damaged stream: {error}.") from None
            for event in events:
                text = self._take(event)
                if text:
                    yield text
            if not chunk:
                break
        if not self._done and self.answer.finish_reason is None:
            raise self._broken("broke its stream off before the answer was complete.")
        if self._held:
            self._texts.append("\ufffd")
            yield "\ufffd"
        self.answer.content = "".join(self._texts)

    async def _whole(self) -> str:
        """Read the answer of an endpoint that does not stream, although it was asked to."""
        body = bytearray()
        while chunk := await self._response.content.readany():
            body += chunk
            if len(body) > MAX_JSON_BYTES:
                raise self._broken(f"sent more than the {MAX_JSON_BYTES:,} bytes that an answer may have.")
        payload = decode_object(Reply(self._response.headers, bytes(body)), self._callee)
        self.answer = read_completion(payload, self._callee.name)
        return mend_text(self.answer.content) if isinstance(self.answer.content, str) else ""

    def _take(self, event: bytes) -> str:
        if self._done:
            return ""
        if event.strip() == b"[DONE]":
            self._done = True
            return ""
        try:
            payload = json.loads(event)
        except (ValueError, RecursionError) as error:
            raise self._broken(f"sent a damaged stream ({type(error).__name__}: {error}).") from None
        if not isinstance(payload, dict):
            raise self._broken("sent a stream that is not in the OpenAI format.")
        if payload.get("error"):
            raise self._reported(payload["error"])
        self.answer.read_common(payload)
        choices = payload.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return ""  # the last chunk holds the usage only
        self.answer.read_choice(choice)
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return ""
        check_refusal(delta.get("refusal"), self._callee.name)
        content = delta.get("content")
        return self._text(content) if isinstance(content, str) else ""

    def _text(self, content: str) -> str:
        """Return what may be shown of `content`: half a character at its end waits for the other half."""
        text = self._held + content
        self._held = ""
        if text and _FIRST_HALF[0] <= text[-1] <= _FIRST_HALF[1]:
            self._held = text[-1]
            text = text[:-1]
        if not text.isascii():
            text = mend_text(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
        if text:
            self._texts.append(text)
        return text

    def _reported(self, error: Any) -> OrchestAIError:
        """Translate an error that comes as an event, because the status was sent long ago."""
        facts = error if isinstance(error, dict) else {"message": error}
        code, said = facts.get("code"), facts.get("message")
        if isinstance(code, int) and 400 <= code < 600:
            status = code
        else:
            status = 429 if "rate_limit" in f"{code} {facts.get('type')}" else 500
        message = said if isinstance(said, str) else json.dumps(error)
        return status_error(self._callee, status, {}, message, self._secret)

    def _broken(self, what: str) -> MalformedResponseError:
        return malformed(self._callee.name, what, None)
