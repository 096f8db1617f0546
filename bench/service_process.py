"""`orchestai serve` in a process of its own, for measuring."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import yaml

from orchestai.app.scaffold import create_project


class ServiceProcess:
    """A running service.

    Args:
        project: Folder of the configuration.
        home: Folder of all state.
        base_url: The endpoint behind the service.
        timeout_s: Time allowed for one call to it.
    """

    def __init__(self, project: Path, home: Path, base_url: str, *, timeout_s: float = 10.0) -> None:
        self._command = [sys.executable, "-m", "orchestai.cli.main", "serve", "--port", "0", "--project", str(project)]
        self._environment = {
            **os.environ,
            "ORCHESTAI_HOME": str(home),
            "OPENAI_BASE_URL": base_url,
            "OPENAI_MODEL": "stub",
            "OPENAI_API_KEY": "none",
            "ORCHESTAI_OPENAI_TIMEOUT_S": str(timeout_s),
            "COLUMNS": "200",
        }
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=self._environment
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        if "answers at" not in line:
            raise RuntimeError(f"The service did not start (status {process.wait()}): {line}")
        self.url = line.split()[-1]
        self._process = process

    def kill(self) -> None:
        """End it at once, as a crash would."""
        process = self._running()
        process.kill()
        self._wait(process)

    def stop(self) -> int:
        """End it in order; return its status."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        return self._wait(process)

    def rss_mb(self) -> float:
        """Return the memory that it takes now."""
        for line in Path(f"/proc/{self._running().pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("The system does not tell the memory of a process.")

    def cpu_s(self) -> float:
        """Return the CPU seconds that it took so far."""
        stat = Path(f"/proc/{self._running().pid}/stat").read_text(encoding="utf-8")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()

    @staticmethod
    def _wait(process: subprocess.Popen[str]) -> int:
        status = process.wait(60)
        assert process.stdout is not None
        process.stdout.close()
        return status

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("The service is not started.")
        return self._process


def write_project(folder: Path, **sections: dict[str, Any]) -> Path:
    """Write the packaged configuration with rules as the planner; return the folder of its YAML."""
    create_project(folder)
    file = folder / "configs" / "project.yml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    for section, values in {"planner": {"fallback": "rules"}, **sections}.items():
        content.setdefault(section, {}).update(values)
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / "configs"
