"""Starts, finds and stops the local server of the packaged model."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Self

from orchestai.config import EndpointConfig
from orchestai.endpoint.model_file import find_model
from orchestai.endpoint.state import EndpointState, StateFile, process_birth
from orchestai.errors import EndpointError, StorageError

SLOTS = 2
_STOP_TIMEOUT_S = 5.0
_LOG_TAIL_CHARS = 1500
_MAX_LOG_BYTES = 4 * 2**20
_STAYING: list[subprocess.Popen[bytes]] = []
"""Servers that outlive us: their handles are kept, for Python warns of a dropped handle of a live process."""


class LocalEndpoint:
    """The server of one home.

    `start()` always starts a server; `ensure_running` uses one that is there. An owned server ends with this
    process, however that ends. The state is in `run/endpoint.json`, the log in `logs/endpoint.log`.

    Args:
        config: Address, size and patience.
        home: Folder of all state.
        owned: Let the server end with this process; otherwise it stays until `stop()`.
        slots: Calls that it answers at a time.
    """

    def __init__(self, config: EndpointConfig, home: Path, *, owned: bool = True, slots: int = SLOTS) -> None:
        self._config = config
        self._owned = owned
        self._slots = slots
        self._file = StateFile(home / "run")
        self._log = home / "logs" / "endpoint.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._state: EndpointState | None = None
        self._borrowed = False

    def __enter__(self) -> Self:
        """Start, unless it runs already."""
        if not self.running:
            self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """What clients are given.

        Raises:
            EndpointError: It was not started.
        """
        if self._state is None:
            raise EndpointError("The local endpoint is not running.", remedy="Call start() first.")
        return f"{_root_url(self._state.host, self._state.port)}/v1"

    @property
    def pid(self) -> int | None:
        """Process of the server, if it was started."""
        return self._state.pid if self._state else None

    @property
    def running(self) -> bool:
        """Whether the server's process lives.

        The process table is asked, not `Popen.poll()`: that one still says "alive" while the last threads of a
        killed server are on their way out.
        """
        return self._state is not None and self._state.alive

    def start(self) -> Self:
        """Start the server and wait until it answers; after a crash, on the same port if it is free.

        Raises:
            EndpointError: The port is taken, the model is missing, or the server did not come up.
            StorageError: The home cannot be written.
        """
        with self._file.locked(self._config.startup_timeout_s + _STOP_TIMEOUT_S):
            self._start()
        return self

    def stop(self) -> bool:
        """Stop the server that this object started, or that stays in this home; say whether one was stopped.

        A server that `ensure_running` found is left to whoever started it.
        """
        if self._borrowed:
            self._state, self._borrowed = None, False
            return False
        state = self._state or self._file.read()
        stopped = state is not None and state.alive
        if stopped and state is not None:
            _end(state)
            _reap(state.pid)
        if self._process is not None:
            self._close_process()
        if state is not None:
            self._file.forget(state.pid)
        self._state = None
        return stopped

    def _borrow(self) -> bool:
        """Use a server of this home that will not end under our feet."""
        state = self._file.read()
        if state is None or (state.owner is not None and state.owner != os.getpid()):
            return False
        if not _healthy(state.host, state.port, timeout_s=2.0):
            return False
        self._state, self._borrowed = state, True
        return True

    def _start(self) -> None:
        config = self._config
        if self.running:
            raise EndpointError(
                f"The local endpoint runs already at {self.base_url}.", remedy="Stop it before a new start."
            )
        find_model()
        if self._process is not None:
            self._close_process()  # once it is gone, so is its hold on the port
        port = self._choose_port()
        process, announced = self._spawn(port)
        self._process = process
        try:
            port = self._wait(process, announced)
        except BaseException:
            process.kill()
            self._close_process()
            raise
        finally:
            announced.close()
        self._state = EndpointState(
            pid=process.pid,
            born=process_birth(process.pid) or 0,
            host=config.host,
            port=port,
            started=time.time(),
            owner=os.getpid() if self._owned else None,
        )
        self._borrowed = False
        if self._owned:
            if self._file.read() is None:
                self._file.write(self._state)
        else:
            # One that stays takes precedence over one that ends with its owner.
            self._file.write(self._state)
            _STAYING.append(process)

    def _choose_port(self) -> int:
        host, port = self._config.host, self._config.port
        if port == 0:
            # Whoever holds our address keeps working if the successor of a crashed server takes it.
            last = self._state.port if self._state else 0
            return last if last and _bind_error(host, last) is None else 0
        error = _bind_error(host, port)
        if error is None:
            return port
        other = self._file.read()
        if other is not None and (other.host, other.port) == (host, port) and self._owned:
            return 0  # another process of this home has its own server there
        if _is_taken(error):
            raise EndpointError(
                f"The local endpoint cannot listen on {host}:{port}: the port is taken.",
                remedy="Stop what uses it, or choose another one (`endpoint.port`, 0 takes a free one).",
            )
        raise EndpointError(
            f"The local endpoint cannot listen on {host}:{port} ({error.strerror or error}).",
            remedy="Set `endpoint.host` to an address of this machine, such as 127.0.0.1.",
        )

    def _spawn(self, port: int) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        config = self._config
        reading, writing = os.pipe()
        command = [
            *(sys.executable, "-m", "orchestai.endpoint.serve"),
            *("--host", config.host, "--port", str(port), "--threads", str(config.threads)),
            *("--context-tokens", str(config.context_tokens), "--slots", str(self._slots)),
            *("--announce-fd", str(writing)),
            *(("--owned",) if self._owned else ()),
        ]
        try:
            with self._open_log() as log:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE if self._owned else subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(writing,),
                    # Ctrl-C in the host's terminal is the host's; it stops the server itself.
                    start_new_session=True,
                )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return process, os.fdopen(reading, "rb")

    def _open_log(self) -> IO[bytes]:
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            too_long = self._log.exists() and self._log.stat().st_size > _MAX_LOG_BYTES
            return self._log.open("wb" if too_long else "ab")
        except OSError as error:
            raise StorageError(
                f"The log of the local endpoint cannot be written ({error.strerror}).",
                path=str(self._log),
                remedy="Choose another folder with ORCHESTAI_HOME.",
            ) from error

    def _wait(self, process: subprocess.Popen[bytes], announced: IO[bytes]) -> int:
        """Return the port that the server announces once it answers."""
        deadline = time.monotonic() + self._config.startup_timeout_s
        message = b""
        while chunk := self._read_until(announced, deadline):
            message += chunk
        if not message:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_STOP_TIMEOUT_S)
            raise self._failed(f"The local endpoint ended at once (exit status {process.returncode}).")
        port = int(json.loads(message)["port"])
        while not _healthy(self._config.host, port, timeout_s=1.0):
            if process.poll() is not None:
                raise self._failed(f"The local endpoint ended while starting ({process.returncode}).")
            if time.monotonic() > deadline:
                raise self._too_slow()
            time.sleep(0.05)
        return port

    def _read_until(self, announced: IO[bytes], deadline: float) -> bytes:
        ready, _, _ = select.select([announced], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise self._too_slow()
        return os.read(announced.fileno(), 4096)

    def _too_slow(self) -> EndpointError:
        return self._failed(
            f"The local endpoint did not answer within {self._config.startup_timeout_s:g} s "
            "(`endpoint.startup_timeout_s`)."
        )

    def _failed(self, what: str) -> EndpointError:
        try:
            tail = self._log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL_CHARS:].strip()
        except OSError:
            tail = ""
        return EndpointError(f"{what} Last lines of its log:\n{tail}\n", remedy=f"See {self._log}.")

    def _close_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            process.wait()


def ensure_running(config: EndpointConfig, home: Path, *, owned: bool = True) -> LocalEndpoint:
    """Return the server of this home, started if none runs.

    A server that another process owns is left alone, because it ends with that process; in that case, and
    with `owned`, one of our own is started on a free port.

    Args:
        config: Address, size and patience.
        home: Folder of all state.
        owned: Let a server that is started here end with this process.

    Raises:
        EndpointError: None runs and none can be started.
        StorageError: The home cannot be written.
    """
    endpoint = LocalEndpoint(config, home, owned=owned)
    with endpoint._file.locked(config.startup_timeout_s + _STOP_TIMEOUT_S):
        if not endpoint._borrow():
            endpoint._start()
    return endpoint


def _end(state: EndpointState) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, number)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while time.monotonic() < deadline:
            if not state.alive:
                return
            time.sleep(0.02)


def _reap(pid: int) -> None:
    """Take the exit status of a server that was to outlive us and was stopped after all, maybe by another object."""
    for process in [each for each in _STAYING if each.pid == pid]:
        process.wait()
        _STAYING.remove(process)


def _root_url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _healthy(host: str, port: int, *, timeout_s: float) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback needs no proxy
    try:
        with opener.open(f"{_root_url(host, port)}/health", timeout=timeout_s) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _bind_error(host: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return error
    return None


def _is_taken(error: OSError) -> bool:
    return error.errno == errno.EADDRINUSE
