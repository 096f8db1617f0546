"""Holds a program back until somebody watches over it."""

from __future__ import annotations

import asyncio
import socket

GATE = 'echo >&{fd} && read -r -u {fd} && exec {fd}>&- && exec "$@"'
"""Bash that reports, waits for the answer, and becomes the program; without an answer it ends."""


class Gate:
    """A connection to the launcher inside the sandbox.

    Bubblewrap's child asks to die with its parent only after some milliseconds. Were we killed before, the program
    would run on with nobody to stop it; so it does not start before its launcher has heard from us.
    """

    def __init__(self) -> None:
        self._ours, self._inner = socket.socketpair()
        self._ours.setblocking(False)

    @property
    def inner(self) -> int:
        """Descriptor of the launcher's end."""
        return self._inner.fileno()

    async def open(self) -> None:
        """Wait for the launcher and let the program start; return at once if the sandbox ended before."""
        self._inner.close()
        loop = asyncio.get_running_loop()
        try:
            if await loop.sock_recv(self._ours, 1):
                self._ours.send(b"\n")
        except ConnectionError:  # it ended between the two
            return

    def close(self) -> None:
        """Close both ends; a launcher that still waits ends."""
        self._ours.close()
        self._inner.close()
