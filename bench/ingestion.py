"""How fast logs become tables: ingestion, the sensor's tick over many days, and the time from a log to its run.

    python -m bench.ingestion --days 1000 --rows 10000 --ingest-days 100 --out report.json

`--days` x `--rows` executions lie on disk as closed segments: each day is a hard link to one of a few different
segments, so that 10 million rows take a few hundred megabytes. `--ingest-days` of them are ingested, one after another
in one process. `log_to_sensor_seconds` starts a real Dagster daemon; leave it out with `--no-daemon`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.report import machine
from orchestai.logs import ExecutionLogRecord, ingest_day

ROOT = Path(__file__).resolve().parent.parent
FIRST = date(2023, 1, 2)
_TEMPLATES = 4


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=10_000, help="executions a day")
    parser.add_argument("--ingest-days", type=int, default=100, help="days that are ingested")
    parser.add_argument("--no-daemon", action="store_true", help="leave out log_to_sensor_seconds")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="orchestai-ingestion-") as folder:
        home = Path(folder) / "home"
        report = {"machine": machine(), **measure(home, options.days, options.rows, options.ingest_days)}
    if not options.no_daemon:
        with tempfile.TemporaryDirectory(prefix="orchestai-daemon-") as folder:
            report["log_to_sensor_seconds"] = log_to_sensor_seconds(Path(folder))
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


def measure(home: Path, days: int, rows: int, ingest_days: int) -> dict[str, Any]:
    """Write logs, ingest some days, and tick the sensor over all."""
    written = write_logs(home / "execution_logs", days, rows)
    return {
        "days": days,
        "rows": days * rows,
        **written,
        **ingest(home, min(ingest_days, days), rows),
        **ticks(home, days),
    }


def write_logs(directory: Path, days: int, rows: int) -> dict[str, Any]:
    """Lay `days` folders of one closed segment each; they share the bytes of a few segments."""
    templates = directory.parent / "templates"
    templates.mkdir(parents=True)
    for number in range(_TEMPLATES):
        lines = [execution(number * rows + row).to_line() + b"\n" for row in range(rows)]
        (templates / str(number)).write_bytes(b"".join(lines))
    for number in range(days):
        folder = directory / (FIRST + timedelta(days=number)).isoformat()
        folder.mkdir(parents=True)
        os.link(templates / str(number % _TEMPLATES), folder / "host-1-1.jsonl")
    size = (templates / "0").stat().st_size
    return {"bytes_a_row": round(size / rows), "log_bytes": size * days}


def execution(number: int) -> ExecutionLogRecord:
    """Return one execution of two sub-tasks, as large as a real one."""
    ok = number % 5 > 0
    subtasks = [
        {
            "index": place,
            "task_type": kind,
            "description": f"Do part {place} of the work on report {number}.",
            "worker": "sim-fast",
            "simulated": True,
            "status": "done",
            "attempts": 1,
            "input_tokens": 120,
            "output_tokens": 60,
            "cost_usd": 0.0005,
            "latency_ms": 400.0 + number % 97,
        }
        for place, kind in enumerate(("summarization", "translation"))
    ]
    return ExecutionLogRecord.model_validate(
        {
            "timestamp": datetime(2023, 1, 2, tzinfo=UTC) + timedelta(seconds=number % 86_000),
            "instruction": f"Summarise report number {number} in two sentences and translate the summary into French.",
            "inputs": {"text": f"Report {number}. The harbour was closed for three days because of the storm. " * 3},
            "success": ok,
            "completed": True,
            "simulated": True,
            "cost": 0.001,
            "latency_ms": 800.0 + number % 211,
            "execution_id": f"execution-{number:09d}",
            "instruction_id": f"instruction-{number:09d}",
            "planner_outputs": {
                "model_selections": [0, 0],
                "workflow_graph": {"adjacency": [[0, 1], [0, 0]]},
                "task_types": [0, 1],
                "dependencies": [[], [0]],
                "workers": ["sim-fast", "sim-fast"],
                "task_type_names": ["summarization", "translation"],
                "planner": "learned",
                "confidence": 0.5 + number % 50 / 100,
                "model_version": "0123456789abcdef",
                "propensities": [1.0, 1.0],
            },
            "execution_result": {
                "success": ok,
                "outputs": {"0": "The harbour was closed.", "1": "Le port fut ferme.", "-1": "Le port fut ferme."},
                "total_cost": 0.001,
                "total_latency_ms": 800.0,
                "retry_count": 0,
                "task_metrics": {str(place): {"cost": 0.0005, "latency_ms": 400.0} for place in range(2)},
            },
            "subtasks": subtasks,
            "writer": "host-1",
        }
    )


def ingest(home: Path, days: int, rows: int) -> dict[str, Any]:
    """Ingest days one after another, as the runs of a backfill do."""
    out = home / "data" / "execution_logs"
    started, cpu = time.perf_counter(), time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = 0
    for number in range(days):
        day = FIRST + timedelta(days=number)
        found += ingest_day(home / "execution_logs", day, out, home / "quarantine").rows
    assert found == days * rows, f"{found} rows of {days * rows}"
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    return {
        "ingested_days": days,
        "ingested_rows": found,
        "ingestion_rows_per_second": round(found / seconds),
        "ingestion_rows_per_cpu_second": round(found / cpu_seconds),
        "ingestion_seconds": round(seconds, 2),
        "ingestion_peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "peak_before_mib": round(before / 1024),
        "table_bytes_a_row": round(sum(path.stat().st_size for path in out.glob("*.parquet")) / found),
    }


def ticks(home: Path, days: int) -> dict[str, Any]:
    """Tick the sensor until it has asked for every day, once more, and once after one late segment."""
    import dagster as dg

    from orchestai.config import load_project
    from orchestai_assets.definitions import build_definitions
    from orchestai_assets.partitions import days as partitions
    from resources.orchestai_resource import OrchestAIResource
    from sensors.new_execution_logs import new_execution_logs_sensor

    os.environ["ORCHESTAI_HOME"] = str(home)
    project = load_project()
    project = project.model_copy(update={"dagster": project.dagster.model_copy(update={"start_date": FIRST})})
    sensor = new_execution_logs_sensor(partitions(project.dagster), project.automation.sensors)
    definitions = build_definitions(project)
    cursor: str | None = None
    asked, seconds = 0, []
    with dg.DagsterInstance.ephemeral() as instance:

        def tick() -> int:
            nonlocal cursor
            context = dg.build_sensor_context(
                instance=instance,
                cursor=cursor,
                definitions=definitions,
                resources={"orchestai": OrchestAIResource()},
            )
            started = time.perf_counter()
            data = sensor.evaluate_tick(context)
            seconds.append(time.perf_counter() - started)
            cursor = data.cursor
            return len(data.run_requests or [])

        while found := tick():
            asked += found
        assert asked == days, f"{asked} runs for {days} days"
        first, idle = seconds[:-1], seconds[-1]
        late = home / "execution_logs" / FIRST.isoformat() / "late-1-1.jsonl"
        late.write_bytes(execution(10**9).to_line() + b"\n")
        assert tick() == 1
    return {
        "sensor_ticks": len(first),
        "sensor_tick_seconds_max": round(max(first), 3),
        "sensor_tick_idle_seconds": round(idle, 3),
        "sensor_tick_late_file_seconds": round(seconds[-1], 3),
        "sensor_cursor_bytes": len(cursor or ""),
    }


def log_to_sensor_seconds(folder: Path) -> dict[str, float]:
    """Start a real daemon, close a segment, and wait until the sensor has asked for its day's run."""
    home = folder / "dagster_home"
    home.mkdir()
    shutil.copy(ROOT / "deploy" / "dev" / "dagster.yaml", home)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["ORCHESTAI_HOME"] = str(folder / "home")
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", "orchestai_assets.definitions"]
    import dagster as dg

    with (folder / "daemon.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ))
    try:
        with dg.DagsterInstance.get() as instance:
            deadline = time.monotonic() + 180

            def wait(what: str, check: Any) -> float:
                while time.monotonic() < deadline:
                    assert process.poll() is None, (folder / "daemon.log").read_text()[-2000:]
                    if check():
                        return time.time()
                    time.sleep(0.1)
                raise TimeoutError(what)

            wait("a first tick", lambda: any(s.instigator_data for s in instance.all_instigator_state()))
            day = datetime.now(UTC).date()
            directory = folder / "home" / "execution_logs" / day.isoformat()
            directory.mkdir(parents=True)
            lines = [execution(number).to_line() + b"\n" for number in range(100)]
            (directory / "host-1-1.open").write_bytes(b"".join(lines))
            (directory / "host-1-1.open").rename(directory / "host-1-1.jsonl")
            landed = time.time()
            asked = wait("the run", lambda: instance.get_runs_count() > 0)
            done = wait(
                "the end of the run",
                lambda: instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])) > 0,
            )
    finally:
        process.terminate()
        process.wait(timeout=60)
    return {"asked": round(asked - landed, 2), "validated": round(done - landed, 2)}


if __name__ == "__main__":
    main()
