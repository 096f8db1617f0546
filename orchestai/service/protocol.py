"""HTTP/1.1 for impatient servers: clients that send or read too slowly are cut off."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024


class ImpatientProtocol(HttpToolsProtocol):
    """One connection, with the limits that uvicorn lacks.

    Attributes:
        header_timeout_s: Time from the connection, or a request's first byte, to the end of its head.
        stall_timeout_s: How long an answer may wait for its reader.
    """

    header_timeout_s = 10.0
    stall_timeout_s = 30.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._head_open = False
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request's head."""
        super().connection_made(transport)
        # asyncio leaves this out for sockets that were opened by hand; then head and body of an answer, which are
        # two writes, lie 40 ms apart.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head_timer = self.loop.call_later(self.header_timeout_s, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._stop_head_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bound a head in size and time."""
        super().data_received(data)
        if not self._head_open:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._give_up()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.header_timeout_s, self._give_up)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._head_open, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self._head_open = False
        self._stop_head_timer()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """The reader does not keep up."""
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self.stall_timeout_s, self._give_up)

    def resume_writing(self) -> None:
        """The reader goes on."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        super().resume_writing()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._stop_head_timer()
        if self.transport is not None:
            self.transport.abort()  # closing would wait for a reader who does not read


def impatient_protocol(header_timeout_s: float, stall_timeout_s: float) -> type[ImpatientProtocol]:
    """Return the protocol with these limits; uvicorn makes the connections itself, so they go with the class."""
    limits = {"header_timeout_s": header_timeout_s, "stall_timeout_s": stall_timeout_s}
    return type("ConfiguredProtocol", (ImpatientProtocol,), limits)
