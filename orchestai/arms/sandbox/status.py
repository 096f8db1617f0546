"""What bubblewrap says of itself: which process is the first inside, and how the program ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path


class StatusPipe:
    """The reading end of `bwrap --json-status-fd`, and a handle on the sandbox's first process.

    That process is held by a file descriptor, not by its number, which another process may have by the time
    that we kill it.
    """

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._buffer = b""
        self._bubblewrap: int | None = None
        self._loop = asyncio.get_running_loop()
        self.first_process: int | None = None
        self.handle: int | None = None
        self.bubblewrap_handle: int | None = None
        self.exit_code: int | None = None
        self.known = asyncio.Event()

    def watch(self, bubblewrap: int) -> None:
        """Begin to read what the process `bubblewrap` writes; our copy of the writing end is closed."""
        self._bubblewrap = bubblewrap
        with contextlib.suppress(ProcessLookupError):
            self.bubblewrap_handle = os.pidfd_open(bubblewrap)
        self.close_writer()
        self._loop.add_reader(self._reader, self._read)

    def close_writer(self) -> None:
        """Give up our copy of the writing end."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def close(self) -> None:
        """Read what is left and close everything."""
        if self._reader >= 0 and self._bubblewrap is not None:
            self._read()
        self._close_reader()
        self.close_writer()
        for handle in (self.handle, self.bubblewrap_handle):
            if handle is not None:
                os.close(handle)
        self.handle = self.bubblewrap_handle = None

    def kill(self) -> None:
        """Kill the first process and bubblewrap, whichever is known and alive.

        Not through `Process.kill`: it would reap a process that just ended, and asyncio's own wait would then
        report a child that it does not know.
        """
        for handle in (self.handle, self.bubblewrap_handle):
            if handle is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)

    async def first_process_gone(self) -> None:
        """Wait until the first process is dead, which it is only after all others inside."""
        if self.handle is None:
            return
        gone = asyncio.Event()
        self._loop.add_reader(self.handle, gone.set)
        try:
            await gone.wait()
        finally:
            self._loop.remove_reader(self.handle)
        _reap(self.handle)

    def _read(self) -> None:
        while self._reader >= 0:
            try:
                chunk = os.read(self._reader, 4096)
            except BlockingIOError:
                break
            if not chunk:
                self._close_reader()
            self._buffer += chunk
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            document = json.loads(line)
            if "child-pid" in document:
                self._hold(int(document["child-pid"]))
            if "exit-code" in document:
                self.exit_code = int(document["exit-code"])

    def _close_reader(self) -> None:
        if self._reader >= 0:
            self._loop.remove_reader(self._reader)
            os.close(self._reader)
            self._reader = -1
        self.known.set()

    def _hold(self, process: int) -> None:
        try:
            handle = os.pidfd_open(process)
            stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it is gone already
            return
        if int(stat.rpartition(")")[2].split()[1]) == self._bubblewrap:
            self.first_process, self.handle = process, handle
        else:
            os.close(handle)
        self.known.set()


def _reap(handle: int) -> None:
    """Bury the orphan if it came to us, as it does where we are the container's first process."""
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, handle, os.WEXITED | os.WNOHANG)
