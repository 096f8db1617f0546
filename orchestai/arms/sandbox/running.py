"""One sandbox while it runs: started, watched, read and, whatever happens, ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from orchestai.arms.sandbox.command import unprivileged_user
from orchestai.arms.sandbox.gate import Gate
from orchestai.arms.sandbox.program import SandboxResult, Status
from orchestai.arms.sandbox.status import StatusPipe
from orchestai.arms.sandbox.usage import measure
from orchestai.config import SandboxConfig

T = TypeVar("T")

_SAMPLE_S = 0.05
_SETUP_S = 30.0
_CHUNK = 1 << 16


class SetupError(Exception):
    """Bubblewrap could not make the sandbox; the message is its own."""


class RunningSandbox:
    """The processes of one sandbox.

    Two handles end it, and either is enough: bubblewrap itself, whose death takes its child along
    (`--die-with-parent`), and the first process inside, whose death makes the kernel kill all the others.
    """

    def __init__(self, limits: SandboxConfig, status: StatusPipe, gate: Gate) -> None:
        self._limits = limits
        self._gate = gate
        self._status = status
        self._reached: Status | None = None
        self._truncated = False
        self._process: asyncio.subprocess.Process

    async def run(self, command: Sequence[str], *, stdin: int, files: Sequence[int]) -> SandboxResult:
        """Run `command` to its end, or to the first limit that it reaches.

        Args:
            command: Bubblewrap and its arguments.
            stdin: Descriptor that the program reads.
            files: Descriptors that bubblewrap reads or writes.

        Raises:
            SetupError: The program was never started.
        """
        started = time.monotonic()
        starting = asyncio.create_subprocess_exec(
            *command,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=files,
            env={},  # what bubblewrap starts with can be read inside, in /proc/1/environ
            cwd="/",
            start_new_session=True,
            **unprivileged_user(),
        )
        try:
            self._process, cancelled = await _in_spite_of_cancellation(starting)
        except OSError as error:
            raise SetupError(str(error)) from error
        self._status.watch(self._process.pid)
        # Both streams may end long before the program does, so its own end belongs to what is waited for.
        reading = asyncio.gather(
            self._read(self._process.stdout), self._read(self._process.stderr), self._process.wait()
        )
        watching = asyncio.create_task(self._watch())
        try:
            if cancelled:
                raise asyncio.CancelledError
            # No timeout around the reading: what was printed until a limit was reached must not be lost.
            await asyncio.wait((reading, watching), return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            _, cancelled = await _in_spite_of_cancellation(self._end(reading))
        if cancelled:
            raise asyncio.CancelledError
        if watching.done() and not watching.cancelled():
            watching.result()  # a watch that broke down ended the program; nobody must take that for its own end
        stdout, stderr, _ = reading.result()
        exit_code = self._status.exit_code
        if self._reached is None and exit_code is None:
            raise SetupError(stderr.strip() or f"exit code {self._process.returncode}")
        return SandboxResult(
            status=self._reached or _status_of(exit_code or 0),
            exit_code=exit_code if self._reached is None else None,
            stdout=stdout,
            stderr=stderr,
            truncated=self._truncated,
            duration_ms=(time.monotonic() - started) * 1000,
        )

    async def _read(self, stream: asyncio.StreamReader | None) -> str:
        assert stream is not None
        allowed = self._limits.output_kb * 1024
        kept = bytearray()
        while chunk := await stream.read(_CHUNK):
            kept += chunk[: allowed - len(kept)]
            if len(kept) == allowed and not self._truncated:
                self._truncated = True
                self._reach("output_limit")
        return kept.decode(errors="replace")

    async def _watch(self) -> None:
        """Return as soon as time, memory or files are used up; what is measured is never the program's to hide."""
        try:
            await asyncio.wait_for(self._gate.open(), _SETUP_S)
        except TimeoutError:
            raise SetupError(f"it was not ready within {_SETUP_S:g} s") from None
        end = time.monotonic() + self._limits.wall_s  # setting the sandbox up is not the program's time
        memory = self._limits.memory_mb << 20
        while (left := end - time.monotonic()) > 0:
            if self._status.first_process is not None:
                usage = measure(self._status.first_process)
                if usage.memory_bytes > memory or usage.files > self._limits.work_files:
                    return self._reach("memory_limit" if usage.memory_bytes > memory else "file_limit")
            await asyncio.sleep(min(_SAMPLE_S, left))
        self._reach("timeout")

    def _reach(self, limit: Status) -> None:
        self._reached = self._reached or limit
        self._status.kill()

    async def _end(self, reading: asyncio.Future[tuple[str, str, int]]) -> None:
        try:
            # Killed before it has told us of its child, bubblewrap would leave that one behind, waiting.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._status.known.wait(), _SETUP_S)
            if not reading.done():
                self._status.kill()
            await reading
            self._status.kill()
            await self._status.first_process_gone()
        finally:
            self._status.close()


async def _in_spite_of_cancellation(work: Coroutine[Any, Any, T]) -> tuple[T, bool]:
    """Await `work` to its end, and say whether somebody wanted to cancel it meanwhile."""
    task = asyncio.create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            cancelled = True
    return task.result(), cancelled


def _status_of(exit_code: int) -> Status:
    if exit_code == 0:
        return "ok"
    if exit_code == 128 + signal.SIGXCPU:
        return "cpu_limit"
    return "killed" if exit_code == 128 + signal.SIGKILL else "error"
