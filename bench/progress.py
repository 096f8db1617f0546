"""A long benchmark in pieces: each is kept when it is done, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from orchestai.errors import OrchestAIError

_FAILURES = (OrchestAIError, ValueError, TypeError, KeyError, ArithmeticError, MemoryError, np.linalg.LinAlgError)


class Progress:
    """Finished pieces of a run, in a file beside its report.

    Args:
        out: The report.
        fingerprint: Hash of all that the results depend on; pieces of another one are not used.
    """

    def __init__(self, out: Path, fingerprint: str) -> None:
        self._path = _beside(out)
        self._fingerprint = fingerprint
        self._pieces: dict[str, Any] = {}
        self._started = time.perf_counter()
        self.failed: dict[str, str] = {}
        self.seconds_before = 0.0
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if isinstance(kept, dict) and kept.get("fingerprint") == fingerprint:
            self._pieces = kept["pieces"]
            self.seconds_before = kept["seconds"]
            print(f"going on after {len(self._pieces)} pieces of {self._path}", flush=True)

    def do(
        self, name: str, work: Callable[[], dict[str, Any]], show: Callable[[dict[str, Any]], str]
    ) -> dict[str, Any] | None:
        """Return the result of a piece, kept or done now; None, and noted in `failed`, if this table does not allow it.

        Args:
            name: Of the piece.
            work: Does it; what it returns must be JSON.
            show: Says it in a few words.
        """
        if name not in self._pieces:
            try:
                self._pieces[name] = work()
            except _FAILURES as error:
                self.failed[name] = f"{type(error).__name__}: {error}"[:300]
                print(f"{self._elapsed():7.0f} s  {name:24s} not measured: {self.failed[name]}", flush=True)
                return None
            self._keep()
        done: dict[str, Any] = self._pieces[name]
        print(f"{self._elapsed():7.0f} s  {name:24s} {show(done)}", flush=True)
        return done

    @staticmethod
    def forget(out: Path) -> None:
        """Remove the file: the report is written."""
        _beside(out).unlink(missing_ok=True)

    def _elapsed(self) -> float:
        return self.seconds_before + time.perf_counter() - self._started

    def _keep(self) -> None:
        text = json.dumps({"fingerprint": self._fingerprint, "seconds": self._elapsed(), "pieces": self._pieces})
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self._path)


def _beside(out: Path) -> Path:
    return out.with_name(f".{out.name}.progress")
