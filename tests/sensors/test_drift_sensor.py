"""Drift is looked for when there is something new, is shown at an asset and alerted of once."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestai.app.alerts import ALERTS
from orchestai.app.drift import compare_executions, measure_drift, read_drift
from orchestai.app.places import executions_folder
from orchestai.config import DriftConfig, Project
from orchestai_assets import keys
from orchestai_assets.definitions import defs
from resources.orchestai_resource import OrchestAIResource
from sensors.drift import drift_sensor

SINCE = datetime(2026, 5, 2, tzinfo=UTC)
CONFIG = DriftConfig(min_rows=50)


def executions(
    start: datetime, n: int, success: float = 0.8, cost: float = 0.01, seed: int = 0
) -> list[dict[str, object]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "timestamp": start + timedelta(seconds=int(place)),
            "instruction": "x" * int(rng.integers(20, 200)),
            "planner": "learned",
            "confidence": float(rng.uniform(0.4, 1)),
            "cost": float(cost * rng.lognormal(0, 0.3)),
            "latency_ms": float(rng.lognormal(6, 0.4)),
            "success": bool(rng.random() < success),
            "task_types": [str(rng.choice(["summarization", "translation"]))],
            "workers": ["sim-fast"],
        }
        for place in range(n)
    ]


BEFORE = executions(SINCE - timedelta(days=1), 600)


def test_nothing_changed() -> None:
    report = compare_executions([*BEFORE, *executions(SINCE + timedelta(seconds=1), 400, seed=1)], SINCE, CONFIG)

    assert report.measurable
    assert report.alarms == ()
    assert report.id == ""


def test_what_changed_is_named_and_its_identity_stays_while_it_lasts() -> None:
    after = executions(SINCE + timedelta(seconds=1), 400, success=0.5, cost=0.05, seed=1)
    first = compare_executions([*BEFORE, *after[:300]], SINCE, CONFIG)
    later = compare_executions([*BEFORE, *after], SINCE, CONFIG)

    assert {"cost", "success rate", "calibration"} == set(first.alarms)
    assert first.id == later.id != ""


def test_with_few_executions_nothing_is_said() -> None:
    report = compare_executions([*BEFORE, *executions(SINCE + timedelta(seconds=1), 49, success=0)], SINCE, CONFIG)

    assert not report.measurable
    assert report.alarms == ()


def write(project: Project, rows: list[dict[str, object]]) -> None:
    by_day: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        by_day.setdefault(row["timestamp"].date().isoformat(), []).append(row)  # type: ignore[attr-defined]
    folder = executions_folder(project)
    folder.mkdir(parents=True, exist_ok=True)
    for day, part in by_day.items():
        pq.write_table(pa.Table.from_pylist(part), folder / f"{day}.parquet")


def test_executions_of_a_clock_that_runs_ahead_are_left_out(project: Project) -> None:
    now = SINCE + timedelta(hours=1)
    skewed = executions(now + timedelta(days=3), 300, success=0.0, seed=2)
    write(project, [*BEFORE, *executions(SINCE + timedelta(seconds=1), 300, seed=1), *skewed])

    report = measure_drift(project, SINCE, now=now)

    assert (report.ahead, report.current, report.alarms) == (300, 300, ())


@pytest.fixture
def tick(project: Project, instance: dg.DagsterInstance):
    cursor: list[str | None] = [None]

    def run() -> dg.SensorResult:
        context = dg.build_sensor_context(
            instance=instance, cursor=cursor[0], definitions=defs, resources={"orchestai": OrchestAIResource()}
        )
        data = drift_sensor(project.automation).evaluate_tick(context)
        cursor[0] = data.cursor
        return data

    return run


def test_the_sensor_alerts_once_and_measures_only_what_is_new(
    project: Project, instance: dg.DagsterInstance, tick, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    assert "Nothing has been trained" in (tick().skip_message or "")
    instance.report_runless_asset_event(dg.AssetMaterialization(keys.PHASE1_CHECKPOINT))
    now = datetime.now(UTC)
    write(project, executions(now - timedelta(hours=2), 300))
    assert "both sides need" in (tick().skip_message or "")
    bad = executions(now + timedelta(seconds=5), 300, success=0.2, seed=1)
    write(project, [*executions(now - timedelta(hours=2), 300), *bad])

    data = tick()

    assert data.skip_message.startswith("changed:")
    (seen,) = data.asset_events
    assert seen.asset_key == keys.DATASET_VALIDATION
    assert seen.metadata["success_since"].value < 0.35
    report = read_drift(project)
    assert report is not None
    assert "success rate" in report.alarms
    alerts = [record for record in caplog.records if record.name == ALERTS.name]
    assert len(alerts) == 1
    assert "No new executions" in (tick().skip_message or "")
    assert len([record for record in caplog.records if record.name == ALERTS.name]) == 1
