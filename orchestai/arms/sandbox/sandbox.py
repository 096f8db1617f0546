"""Runs code that nobody has looked at, confined by bubblewrap, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from orchestai.arms.sandbox.command import MAIN, PROGRAMS, Descriptors, sandbox_command
from orchestai.arms.sandbox.gate import Gate
from orchestai.arms.sandbox.program import Program, SandboxResult
from orchestai.arms.sandbox.running import RunningSandbox, SetupError
from orchestai.arms.sandbox.status import StatusPipe
from orchestai.arms.sandbox.syscalls import seccomp_filter
from orchestai.arms.sandbox.usage import can_measure
from orchestai.config import SandboxConfig
from orchestai.errors import InputError, SandboxUnavailableError

_INSTALL = "Install bubblewrap 0.8 or newer (`apt-get install bubblewrap`), or name it in arms/default.yml."
_ALLOW = (
    "Let unprivileged users make namespaces (`sysctl -w user.max_user_namespaces=10000`; on Ubuntu an AppArmor "
    "profile for bwrap; in a container a seccomp profile that permits them)."
)

# Forks until it is stopped. A kernel that does not count processes by user namespace, or a user that it exempts,
# would let a fork bomb through.
_PROBE = """
import os, signal, sys
children = []
try:
    while len(children) < {limit}:
        child = os.fork()
        if child == 0:
            signal.pause()
        children.append(child)
except BlockingIOError:
    sys.exit(0)
sys.exit(3)
"""


class Sandbox:
    """Runs programs without network, without files but their own, without the host's environment.

    Args:
        limits: What one program may use.
        worker: Who is named in errors.
    """

    def __init__(self, limits: SandboxConfig | None = None, *, worker: str = "executor") -> None:
        self.limits = limits or SandboxConfig()
        self._worker = worker
        self._proven = False

    async def run(self, program: Program, *, wall_s: float | None = None) -> SandboxResult:
        """Run one program; whatever becomes of it is in the result.

        Cancelling the call kills the program. When it returns, none of its processes is left.

        Args:
            program: What to run.
            wall_s: Seconds allowed, if fewer than the configured ones.

        Raises:
            SandboxUnavailableError: Nothing confines code on this machine; the program was not started.
            InputError: The program and its files do not fit into the work folder.
        """
        await self.check()
        limits = self.limits
        if wall_s is not None and wall_s < limits.wall_s:
            limits = limits.model_copy(update={"wall_s": wall_s})
        return await self._run_checked(program, limits)

    async def check(self) -> None:
        """Prove once that programs are confined here, by running one that tries to fork without end.

        Raises:
            SandboxUnavailableError: They are not; the error says what to do about it.
        """
        if self._proven:
            return
        if not can_measure():
            raise self._unavailable("This kernel does not list the children of a process.", "Use a Linux kernel.")
        probe = Program(language="python", code=_PROBE.format(limit=self.limits.processes + 1))
        result = await self._run_checked(probe, self.limits.model_copy(update={"wall_s": 30.0}))
        if result.exit_code == 3:
            raise self._unavailable(
                "The sandbox does not limit the number of processes on this machine.",
                "Use Linux 5.14 or newer, and run as an unprivileged user or as a root that may become `nobody`.",
            )
        if not result.ok:
            raise self._unavailable(f"A trial run in the sandbox failed: {result.problem}", _ALLOW)
        self._proven = True

    async def _run_checked(self, program: Program, limits: SandboxConfig) -> SandboxResult:
        self._check_size(program)
        bubblewrap = self._find_bubblewrap()
        calls = seccomp_filter()
        if calls is None:
            raise self._unavailable("No system-call filter is known for this machine.", "Use x86_64 or aarch64.")
        contents = {MAIN[program.language]: program.code, **program.files}
        status, gate = StatusPipe(), Gate()
        with contextlib.ExitStack() as opened:
            opened.callback(status.close)
            opened.callback(gate.close)
            stdin = opened.enter_context(_file(program.stdin.encode()))
            seccomp = opened.enter_context(_file(calls))
            files = {name: opened.enter_context(_file(text.encode())) for name, text in contents.items()}
            descriptors = Descriptors(status.writer, gate.inner, seccomp, files)
            command = sandbox_command(bubblewrap, program.language, limits, descriptors)
            passed = (status.writer, gate.inner, seccomp, *files.values())
            try:
                return await RunningSandbox(limits, status, gate).run(command, stdin=stdin, files=passed)
            except SetupError as error:
                remedy = _INSTALL if "Unknown option" in str(error) else _ALLOW
                raise self._unavailable(f"Bubblewrap cannot make a sandbox: {error}.", remedy) from error

    def _find_bubblewrap(self) -> str:
        configured = self.limits.bubblewrap
        found = shutil.which(configured or "bwrap", path=PROGRAMS)
        if found is None:
            missing = f"There is no {str(configured)!r}" if configured else "There is no bubblewrap"
            raise self._unavailable(f"{missing}, so code cannot be confined.", _INSTALL)
        return found

    def _check_size(self, program: Program) -> None:
        size = len(program.code.encode()) + sum(len(text.encode()) for text in program.files.values())
        allowed = self.limits.work_mb << 20
        if size > allowed // 2:
            raise InputError(
                f"The program and its files have {size:,} bytes; {allowed // 2:,} are allowed.",
                remedy="Send less, or raise `work_mb` in arms/default.yml.",
            )

    def _unavailable(self, message: str, remedy: str) -> SandboxUnavailableError:
        return SandboxUnavailableError(message, worker=self._worker, remedy=f"{remedy} The code was not run.")


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[int]:
    """Hold `content` in memory as a file that another process can read once."""
    descriptor = os.memfd_create("orchestai", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
