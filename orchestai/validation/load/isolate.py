"""The caller's side of the process that reads: starts it, takes its frames, and says why it died."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestai.errors import DataError
from orchestai.validation.load.limits import BATCH_BYTES, MIB, Limits, Options
from orchestai.validation.load.reader import BATCH, DONE, ERROR, FRAME, SCAN
from orchestai.validation.load.scan import Scan
from orchestai.validation.load.snapshot import Snapshot

if TYPE_CHECKING:
    import pyarrow as pa

# The slowest reader (JSON of many short fields) does well over this on an old core.
_BYTES_PER_SECOND = MIB
_LEAST_SECONDS = 30
# A silent process is given up after so many times its CPU seconds, for it may have to wait for a busy machine.
_PATIENCE = 10


def scan_confined(found: Snapshot, options: Options) -> Scan:
    """Do the first pass in a process of its own.

    Raises:
        DataError: As `scan_file`; or the process died of the file.
    """
    for kind, content in _frames(found, options, {"scan": None, "rows": 0}):
        if kind == SCAN:
            return Scan.from_json(json.loads(bytes(content)))
    raise _died(found.name, None, options.limits, 0)


def stream_confined(found: Snapshot, options: Options, scan: Scan, rows: int) -> Iterator[pa.RecordBatch]:
    """Do the second pass in a process of its own; it ends when the iterator is closed.

    Raises:
        DataError: As `stream_file`; or the process died of the file.
    """
    import pyarrow as pa

    for kind, content in _frames(found, options, {"scan": scan.to_json(), "rows": rows}):
        if kind == BATCH:
            yield from pa.ipc.open_stream(pa.py_buffer(content))


def _frames(found: Snapshot, options: Options, order: dict[str, Any]) -> Iterator[tuple[bytes, bytearray]]:
    from orchestai.validation.load.confined import options_to_json

    seconds = options.limits.cpu_seconds or _LEAST_SECONDS + found.size // _BYTES_PER_SECOND
    order = {**order, "fd": found.fd, "cpu_seconds": seconds, "options": options_to_json(options)}
    process = _start(found.fd)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        try:
            process.stdin.write(json.dumps(order).encode())
            process.stdin.close()
        except BrokenPipeError:
            raise _died(found.name, process, options.limits, seconds) from None
        pipe = process.stdout.fileno()
        _widen(pipe)
        while True:
            head = _take(pipe, FRAME.size, seconds * _PATIENCE)
            if head is None:
                raise _died(found.name, process, options.limits, seconds)
            kind, length = FRAME.unpack(head)
            # The length comes from a process that has read untrusted bytes.
            if length > options.limits.max_bytes + BATCH_BYTES:
                raise DataError(
                    f"{found.name} makes a batch of {length:,} bytes; the limit is {options.limits.max_bytes:,}."
                )
            content = _take(pipe, length, seconds * _PATIENCE)
            if content is None:
                raise _died(found.name, process, options.limits, seconds)
            if kind == DONE:
                return
            if kind == ERROR:
                said = json.loads(bytes(content))
                raise DataError(f"{found.name}: {said['message']}", remedy=said["remedy"])
            yield kind, content
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def _start(fd: int) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).parents[3])
    inherited = os.environ.get("PYTHONPATH", "")
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join([root, *([inherited] if inherited else [])]),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        # One arena and the system's allocator: the address space then is about the memory used, as the limit supposes.
        "MALLOC_ARENA_MAX": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        # HDF5 would load filters named in a file from these folders.
        "HDF5_PLUGIN_PRELOAD": "::",
        "HDF5_PLUGIN_PATH": "/nonexistent",
    }
    # -P: a `pyarrow.py` that lies beside the data must not be imported.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "orchestai.validation.load.confined"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=(fd,),
        env=environment,
        bufsize=0,
    )


def _widen(pipe: int) -> None:
    """Let more wait in the pipe, so that the two processes wake each other less often; where the system allows it."""
    import fcntl

    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, MIB)


def _take(pipe: int, size: int, patience_s: float) -> bytearray | None:
    """Return the next `size` bytes, or None if the process ends or is silent for too long."""
    content = bytearray(size)
    rest = memoryview(content)
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        deadline = time.monotonic() + patience_s
        while rest:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return None
            read = os.readv(pipe, [rest[:MIB]])
            if not read:
                return None
            rest = rest[read:]
            deadline = time.monotonic() + patience_s
    return content


def _died(name: str, process: subprocess.Popen[bytes] | None, limits: Limits, seconds: int) -> DataError:
    """Return the error for a process that ended without a word."""
    code = None
    if process is not None:
        try:
            code = process.wait(1)
        except subprocess.TimeoutExpired:
            code = -signal.SIGXCPU
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return DataError(
            f"Reading {name} took more than {seconds} CPU seconds, or was stopped by the system.",
            remedy="The file is damaged or crafted, or the machine is out of memory.",
        )
    if code is not None and code > 0:
        return DataError(
            f"The process that reads {name} could not start or failed (exit code {code}).",
            remedy="Try `python -m orchestai.validation.load.confined </dev/null` to see why.",
        )
    how = f"signal {-code}" if code is not None and code < 0 else f"code {code}"
    return DataError(
        f"{name} makes its reader crash ({how}; memory was limited to {limits.max_bytes:,} bytes).",
        remedy="The file is damaged or crafted: write it again.",
    )
