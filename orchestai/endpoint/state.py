"""Which server runs for a home: written down, checked against the process table, cleaned up when stale."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from orchestai.contracts.base import Record
from orchestai.errors import StorageError


class EndpointState(Record):
    """A running server.

    Attributes:
        pid: Its process.
        born: When that process was born, in the kernel's ticks: a pid alone may be reused.
        host: Address it listens on.
        port: Port it listens on.
        started: Unix time.
        owner: Process that it ends with; null for one that stays.
    """

    pid: int
    born: int
    host: str
    port: int
    started: float
    owner: int | None = None

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return process_birth(self.pid) == self.born


class StateFile:
    """`endpoint.json` of one home, and the lock that keeps two starters apart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "endpoint.json"

    def read(self) -> EndpointState | None:
        """Return the server that is written down, if it still runs; forget a dead one."""
        try:
            state = EndpointState.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValidationError, OSError):
            state = None
        if state is None or not state.alive:
            self.forget()
            return None
        return state

    def write(self, state: EndpointState) -> None:
        """Write `state` down; a reader sees the old file or the new one."""
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(state.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
        temporary.replace(self._path)

    def forget(self, pid: int | None = None) -> None:
        """Remove the file; with `pid`, only if it names that process."""
        if pid is not None:
            try:
                if EndpointState.model_validate_json(self._path.read_bytes()).pid != pid:
                    return
            except (ValidationError, OSError):
                return
        self._path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self, timeout_s: float) -> Iterator[None]:
        """Hold the home's lock.

        Raises:
            StorageError: The folder cannot be written, or somebody held the lock for too long.
        """
        lock = self._folder / "endpoint.lock"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(
                f"The state of the local endpoint cannot be written ({error.strerror}).",
                path=str(self._folder),
                remedy="Choose another folder with ORCHESTAI_HOME.",
            ) from error
        try:
            _acquire(descriptor, lock, timeout_s)
            yield
        finally:
            os.close(descriptor)


def _acquire(descriptor: int, lock: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StorageError(
                    f"Another process has held the endpoint's lock for {timeout_s:g} s.",
                    path=str(lock),
                    remedy="See which process is starting the endpoint, and end it if it hangs.",
                ) from None
            time.sleep(0.05)
        else:
            return


def process_birth(pid: int) -> int | None:
    """Return when the process `pid` was born, in the kernel's ticks; None if it does not run."""
    try:
        # The name in parentheses may hold anything; fields are counted after it: state is 3, birth 22.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None if Path("/proc/self").exists() else _birth_without_proc(pid)
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _birth_without_proc(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except OSError:
        return None
    return 0
