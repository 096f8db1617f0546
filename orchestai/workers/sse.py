"""Server-sent events out of bytes that a network cuts wherever it likes."""

from __future__ import annotations

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class EventTooLongError(ValueError):
    """An event exceeds its limit."""


class EventParser:
    """Gathers bytes and gives the data of each event that is complete.

    Bytes are cut into lines before they are decoded, so that a chunk may end inside a character. Lines end with
    CR, LF or both; `event`, `id`, `retry` and comments are passed over, as nothing in the OpenAI format needs them.

    Args:
        max_bytes: The most that one event may have.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._started = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of the events that `chunk` completes.

        Raises:
            EventTooLongError: An event exceeds the limit.
        """
        events = []
        for line in self._lines(chunk):
            if line:
                self._take(line)
            elif self._data:
                events.append(b"\n".join(self._data))
                self._data = []
                self._size = 0
        return events

    def finish(self) -> list[bytes]:
        """Return the data of the last event, if only the end of the stream shows that it is complete."""
        return self.feed(b"\n") if self._rest.endswith(b"\r") else []

    def _lines(self, chunk: bytes) -> list[bytes]:
        rest = self._rest
        # A CR at the end may be the first half of CR LF: it waits for the next chunk.
        cut = rest.endswith(b"\r") or b"\n" in chunk or b"\r" in chunk
        rest += chunk
        lines: list[bytes] = []
        if cut:
            held = rest.endswith(b"\r")
            *lines, last = _LINE_END.split(bytes(rest[:-1] if held else rest))
            self._rest = bytearray(last + b"\r" if held else last)
            if lines and not self._started:
                lines[0] = lines[0].removeprefix(_BOM)
                self._started = True
        if len(self._rest) > self._max_bytes:
            raise EventTooLongError(f"an event has more than {self._max_bytes:,} bytes")
        return lines

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field != b"data":
            return
        value = value.removeprefix(b" ")
        self._size += len(value)
        if self._size > self._max_bytes:
            raise EventTooLongError(f"an event has more than {self._max_bytes:,} bytes")
        self._data.append(value)
