"""Seconds, CPU, memory and GPU of one validation."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_INTERVAL_S = 0.05


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


class Monitor:
    """Watches the process between `start` and `stop`; the peak of memory is of this validation, not of the process."""

    def __init__(self) -> None:
        self.stage_seconds: dict[str, float] = {}
        self.peak_memory_bytes = 0
        self._gpu: list[float] = []
        self._gpu_fails = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="validation-monitor", daemon=True)
        self._started = self._cpu = 0.0

    def start(self) -> None:
        """Begin."""
        self._started, self._cpu = time.perf_counter(), cpu_seconds()
        self._thread.start()

    def stop(self) -> None:
        """End; may be called twice."""
        self._stop.set()
        self._thread.join()
        self.peak_memory_bytes = max(self.peak_memory_bytes, resident_bytes())

    @property
    def seconds(self) -> float:
        """Wall seconds since the start."""
        return time.perf_counter() - self._started

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds since the start: of all threads, and of the processes that read files, if they have ended."""
        return cpu_seconds() - self._cpu

    @property
    def gpu_utilization(self) -> float | None:
        """Mean percent; None without a GPU."""
        return sum(self._gpu) / len(self._gpu) if self._gpu else None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the seconds of a stage; stages that run again add up."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.stage_seconds[name] = self.stage_seconds.get(name, 0.0) + time.perf_counter() - begun

    def _watch(self) -> None:
        gpu: Callable[[], float] | None = None
        while not self._stop.wait(_INTERVAL_S):
            self.peak_memory_bytes = max(self.peak_memory_bytes, resident_bytes())
            gpu = gpu or _gpu_reader()  # the GPU comes into use only when the cascade begins
            if gpu is None or self._gpu_fails:
                continue
            try:
                self._gpu.append(gpu())
            except Exception:  # no driver library, no permission: memory is still watched
                self._gpu_fails = True


def resident_bytes() -> int:
    """Return the memory that the process holds now; its peak so far where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _gpu_reader() -> Callable[[], float] | None:
    """Return what reads the utilisation, if this process uses a GPU; asking must not start one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return lambda: float(torch.cuda.utilization())
