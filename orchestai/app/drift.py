"""Drift of the executions since the planner was trained, measured on the tables and written as a report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestai.app.json_files import read_json, write_json
from orchestai.app.places import execution_tables
from orchestai.config import DriftConfig, Project
from orchestai.contracts.base import Record
from orchestai.errors import DataError
from orchestai.evaluation.drift import FeatureDrift
from orchestai.evaluation.drift_outcomes import CalibrationDrift, SuccessDrift
from orchestai.logs.parquet import read_parquet

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = (
    "timestamp",
    "instruction",
    "planner",
    "confidence",
    "cost",
    "latency_ms",
    "success",
    "task_types",
    "workers",
)


class DriftReport(Record):
    """What changed since the planner was trained.

    Attributes:
        since: When it was trained.
        measurable: Whether both sides have enough executions.
        why: Why not, or what changed, in words.
        reference: Executions before.
        current: Executions after.
        ahead: Executions left out because they are dated in the future.
        features: The inputs, one by one.
        calibration: What a confidence is worth; null where plans have none.
        success: The success rate.
        alarms: What drifted, by name; empty if nothing did.
        id: Identity of these alarms since that training: equal for as long as the same things have drifted.
    """

    since: datetime
    measurable: bool
    why: str
    reference: int
    current: int
    ahead: int = 0
    features: tuple[FeatureDrift, ...] = ()
    calibration: CalibrationDrift | None = None
    success: SuccessDrift | None = None
    alarms: tuple[str, ...] = ()
    id: str = ""


def drift_file(project: Project) -> Path:
    """Return the file of the last report on drift."""
    return project.paths.reports / "drift" / "report.json"


def read_drift(project: Project) -> DriftReport | None:
    """Return the last report on drift; None if there is none that can be read."""
    if not drift_file(project).exists():
        return None
    try:
        return DriftReport.model_validate(read_json(drift_file(project)))
    except (DataError, ValueError):
        return None  # of another version: the next measurement replaces it


def measure_drift(project: Project, since: datetime, *, now: datetime | None = None) -> DriftReport:
    """Compare the executions before and after `since`, and write the report.

    Args:
        project: The project.
        since: When the planner was trained.
        now: The time; for tests.

    Raises:
        StorageError: The report cannot be written.
        DataError: A table is damaged.
    """
    config = project.automation.drift
    rows, ahead = _read(project, since, config, now or datetime.now(UTC))
    report = compare_executions(rows, since, config, ahead=ahead)
    write_json(drift_file(project), report.model_dump(mode="json"))
    return report


def compare_executions(
    rows: Sequence[dict[str, Any]], since: datetime, config: DriftConfig, *, ahead: int = 0
) -> DriftReport:
    """Compare executions that ended before `since` with those that ended later.

    Args:
        rows: Executions, the oldest first.
        since: When the planner was trained.
        config: What counts as drift.
        ahead: Executions that were left out, for the report.
    """
    from orchestai.evaluation.drift import DriftLimits, compare_features
    from orchestai.evaluation.drift_outcomes import calibration_drift, success_drift

    before = [row for row in rows if row["timestamp"] <= since][-config.max_rows :]
    after = [row for row in rows if row["timestamp"] > since]
    if min(len(before), len(after)) < config.min_rows:
        return DriftReport(
            since=since,
            measurable=False,
            why=f"{len(before)} executions before and {len(after)} after; both sides need {config.min_rows}.",
            reference=len(before),
            current=len(after),
            ahead=ahead,
        )
    latest = after[-config.max_rows :]
    limits = DriftLimits(alpha=config.alpha, max_psi=config.max_psi, max_ks=config.max_ks)
    features = compare_features(_features(before), _features(latest), limits)
    sure, surer = (
        [(r["confidence"], r["success"]) for r in side if r["confidence"] is not None] for side in (before, latest)
    )
    calibration = (
        calibration_drift(sure, surer, alpha=config.alpha, max_change=config.max_calibration_change)
        if min(len(sure), len(surer)) >= config.min_rows
        else None
    )
    # From the first execution after the training on, not the latest: the test adds up evidence over time.
    success = success_drift([r["success"] for r in before], [r["success"] for r in after], alpha=config.alpha)
    alarms = [feature.feature for feature in features if feature.drifted]
    alarms += ["calibration"] if calibration is not None and calibration.drifted else []
    alarms += ["success rate"] if success.drifted else []
    return DriftReport(
        since=since,
        measurable=True,
        why=f"changed: {', '.join(alarms)}" if alarms else "nothing changed by more than is allowed",
        reference=len(before),
        current=len(after),
        ahead=ahead,
        features=tuple(features),
        calibration=calibration,
        success=success,
        alarms=tuple(alarms),
        id=hashlib.sha256("\n".join([since.isoformat(), *sorted(alarms)]).encode()).hexdigest()[:16] if alarms else "",
    )


def _features(rows: Sequence[dict[str, Any]]) -> dict[str, list[float | str]]:
    return {
        "instruction length": [float(len(row["instruction"])) for row in rows],
        "sub-tasks": [float(len(row["task_types"] or ())) for row in rows],
        "task types": [name for row in rows for name in row["task_types"] or ()],
        "workers": [name for row in rows for name in row["workers"] or ()],
        "planner": [row["planner"] or "unknown" for row in rows],
        "confidence": [float(row["confidence"]) for row in rows if row["confidence"] is not None],
        "cost": [float(row["cost"]) for row in rows],
        "latency": [float(row["latency_ms"]) for row in rows],
    }


def _read(project: Project, since: datetime, config: DriftConfig, now: datetime) -> tuple[list[dict[str, Any]], int]:
    """Return the executions of the window, the oldest first, and how many are dated in the future."""
    first = since - timedelta(days=config.reference_days)
    limit = now + timedelta(minutes=config.ahead_minutes)
    rows: list[dict[str, Any]] = []
    ahead = before = 0
    # The newest days first, so that reading ends where the reference is full.
    for path in reversed(execution_tables(project)):
        if date.fromisoformat(path.stem) < first.date() or before >= config.max_rows:
            break
        for row in _rows(_table(path)):
            if row["timestamp"] > limit:
                ahead += 1
            elif row["timestamp"] >= first:
                rows.append(row)
                before += row["timestamp"] <= since
    rows.sort(key=lambda row: row["timestamp"])
    return rows, ahead


def _table(path: Path) -> pa.Table:
    import pyarrow as pa

    try:
        return read_parquet(path, _COLUMNS)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"The table {path} cannot be read: {error}.", remedy="Delete it and ingest its day.") from error


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=5000):
        yield from batch.to_pylist()
