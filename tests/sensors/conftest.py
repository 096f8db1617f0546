"""A project whose logs lie in a temporary folder."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from orchestai.config import Project, load_project
from orchestai.logs import ExecutionLogRecord


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("ORCHESTAI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ORCHESTAI_TARGET", "ci")
    return load_project()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture
def write_segment(project: Project) -> Callable[..., Path]:
    """Return a function that writes a segment with one execution."""

    def write(day: date, name: str, execution_id: str, suffix: str = ".jsonl") -> Path:
        record = ExecutionLogRecord(
            timestamp=datetime(day.year, day.month, day.day, 12, tzinfo=UTC),
            instruction="Summarise this.",
            success=True,
            completed=True,
            cost=0.0,
            latency_ms=1.0,
            planner_outputs={"planner": "rules"},
            execution_result={},
            execution_id=execution_id,
        )
        folder = project.paths.execution_logs / day.isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}{suffix}"
        path.write_bytes(record.to_line() + b"\n")
        return path

    return write
