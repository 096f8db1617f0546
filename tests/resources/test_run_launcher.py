"""A run whose process is gone is noticed, whoever else died with it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus

from resources.run_launcher import LocalRunLauncher, lives


@dg.op
def nothing() -> None: ...


@dg.job
def idle() -> None:
    nothing()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    launcher = {"module": "resources.run_launcher", "class": "LocalRunLauncher"}
    quiet = {"telemetry": {"enabled": False}, "nux": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"run_launcher": launcher, **quiet}) as opened:
        yield opened


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield started
    started.kill()
    started.wait()


def health(instance: dg.DagsterInstance, message: str | None) -> WorkerStatus:
    run = instance.create_run_for_job(idle, status=dg.DagsterRunStatus.STARTED)
    if message is not None:
        instance.report_engine_event(message, run)
    launcher = instance.run_launcher
    assert isinstance(launcher, LocalRunLauncher)
    assert launcher.supports_check_run_worker_health
    return launcher.check_run_worker_health(run).status


def test_a_run_lives_as_long_as_its_process(instance: dg.DagsterInstance, process: "subprocess.Popen[bytes]") -> None:
    started = f"Started process for run (pid: {process.pid})."
    assert health(instance, started) is WorkerStatus.RUNNING

    process.kill()
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    assert health(instance, started) is WorkerStatus.FAILED, "nobody has waited for it yet, but it is dead"

    process.wait()
    assert health(instance, started) is WorkerStatus.FAILED


def test_a_run_of_which_nothing_is_known_is_left_alone(instance: dg.DagsterInstance) -> None:
    assert health(instance, None) is WorkerStatus.RUNNING


def test_another_process_with_the_same_number_is_not_taken_for_it(process: "subprocess.Popen[bytes]") -> None:
    now = time.time()

    assert lives(process.pid, now)
    assert not lives(process.pid, now - 3600)
    assert lives(os.getpid(), now)
