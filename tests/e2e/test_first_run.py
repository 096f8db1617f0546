"""`make run`: the whole loop on the real packaged model, then again without repeating anything."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from orchestai.errors import EndpointError
from orchestai_assets.first_run import require_free_port

KEYS = {
    "executions",
    "successes",
    "simulated_executions",
    "rows",
    "loss_first",
    "loss_last",
    "accuracy_learned",
    "accuracy_rules",
    "stage_seconds",
    "total_seconds",
    "answer",
}


def first_run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The user's run, not the target of the other tests.
    user = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTAI_")}
    return subprocess.run(
        [sys.executable, "-m", "orchestai_assets.first_run", *arguments],
        env={**user, "ORCHESTAI_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_first_run_and_the_second_that_repeats_nothing(tmp_path: Path) -> None:
    done = first_run(tmp_path, "--no-ui")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary.keys() >= KEYS
    assert summary["live_executions"] >= 24
    assert summary["executions"] == summary["live_executions"] + summary["simulated_executions"] + 1
    assert summary["loss_last"] < 0.5 < summary["loss_first"]
    assert summary["accuracy_learned"] > summary["accuracy_rules"]
    assert summary["answer"]["planner"] == "learned"
    assert summary["answer"]["text"]
    assert not summary["answer"]["simulated"]

    again = first_run(tmp_path, "--no-ui")
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("done before") == 4
    assert json.loads((tmp_path / "summary.json").read_text()) == summary


def test_a_taken_port_is_named_before_any_work_is_done(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EndpointError, match=f"Port {port} is taken"):
            require_free_port(port)
        done = first_run(tmp_path / "home", "--port", str(port))
    assert done.returncode == 1
    assert f"Port {port} is taken" in " ".join(done.stdout.split())
    assert not (tmp_path / "home").exists()


def test_a_home_that_cannot_be_written_is_named() -> None:
    done = first_run(Path("/proc/no-such-place"), "--no-ui")
    assert done.returncode == 1
    assert "/proc/no-such-place" in done.stdout.replace("\n", "")
    assert "Traceback" not in done.stderr
