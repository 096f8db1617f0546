"""Runs as processes of this machine, and whether the process of a run still lives.

Dagster's own launcher cannot say. A run whose process was killed together with the daemon and its code server, as when
the power goes, would count as started for ever, and no training and no ingestion of its day would start again.
"""

import os
import re
from pathlib import Path

import dagster as dg
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

_STARTED = re.compile(r"Started process for run \(pid: (\d+)\)")
_CLOCK_S = 5.0


class LocalRunLauncher(DefaultRunLauncher):
    """Dagster's launcher of processes, with a check whether they live.

    Run monitoring marks a run as failed whose process is gone, so that its slots are free and it is started again.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """It can be checked."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Say whether the process of a started run lives."""
        found = None
        for entry in self._instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
            event = entry.dagster_event
            match = _STARTED.search(event.message or "") if event is not None else None
            if match is not None:
                found = int(match[1]), entry.timestamp
        if found is None:  # nothing is known of it: somebody else launched it
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if lives(*found):
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(found[0]))
        return CheckRunHealthResult(WorkerStatus.FAILED, f"Its process (pid {found[0]}) is gone.")


def lives(pid: int, seen_at: float) -> bool:
    """Say whether the process lives that had a number at a time; another one may have the number now.

    Args:
        pid: Number of the process.
        seen_at: When it was seen, in seconds since 1970.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        boot = next(line for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines() if "btime" in line)
    except (OSError, StopIteration):  # no such files on this system
        return True
    state, started = fields[0], int(boot.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return state not in ("Z", "X") and started <= seen_at + _CLOCK_S
