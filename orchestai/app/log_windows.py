"""The six-stage gate on our own logs: new executions against the last approved ones of their source.

Executions that no approved window holds form a window, one a source (`live`, `corpus`, ...), in order of time. It is
cut into blocks, and each block is judged against the window approved before: a planner that went astray in the last
hours cannot hide behind a good week. The whole window is judged against the anchor too, the first window or the last
one that a person accepted: small steps from window to window do not add up unseen. The first window of a source has
nothing to be compared with; what can be judged without a reference is judged, and it becomes the reference. Only
approved windows are remembered.

Executions of one instruction with the same plan and outcome count once, as training takes an instruction once: that
people ask the same thing again is no fault of the log, and a row written a thousand times teaches no more than one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from orchestai.app.json_files import read_json, write_json
from orchestai.app.places import related_values, validation_file
from orchestai.config import LogGateConfig, Project
from orchestai.contracts.base import Record
from orchestai.errors import DataError
from orchestai.logs.columns import KEY
from orchestai.logs.files import replacing
from orchestai.logs.parquet import read_parquet
from orchestai.validation.executions import execution_plan_table
from orchestai.validation.report import Gate, ValidationReport
from orchestai.validation.result import ValidationResult
from orchestai.validation.settings import GateSettings
from orchestai.validation.table import validate_table

if TYPE_CHECKING:
    import pyarrow as pa

Keys = NDArray[np.uint64]
State = Literal["waiting", "first", "compared"]
_THRESHOLD = 90.0
_FACTS = "approved.json"
_ROWS = "approved.parquet"
_SEEN = "seen.parquet"
_ANCHOR = "anchor.parquet"


class Block(Record):
    """Executions of one stretch of time, judged together.

    Attributes:
        first: When its first execution ended.
        last: When its last execution ended.
        against: What it was compared with: nothing, the `previous` approved window, or the `anchor`.
        result: What the gate says.
    """

    first: datetime
    last: datetime
    against: Literal["nothing", "previous", "anchor"]
    result: ValidationResult


class Fingerprint(Record):
    """An approved window.

    Attributes:
        number: How many windows of the source have been approved, this one counted.
        rows: Its executions, equal ones counted once.
        first: When its first execution ended.
        last: When its last execution ended.
        content: Hash of its executions.
        approved: When it was approved.
    """

    number: int
    rows: int
    first: datetime
    last: datetime
    content: str
    approved: datetime


class WindowReport(Record):
    """What is known of the new executions of one source.

    Attributes:
        source: Where their instructions came from.
        rows: New executions, equal ones counted once.
        state: `waiting` for more rows, `first` of its source, or `compared` with the approved window.
        blocks: Its blocks in order of time.
        reference: The approved window that they were compared with.
        needed: Fewest rows that are judged.
    """

    source: str
    rows: int
    state: State
    blocks: tuple[Block, ...] = ()
    reference: Fingerprint | None = None
    needed: int

    @property
    def approved(self) -> bool:
        """Whether no block was refused."""
        return all(block.result.approved_for_training for block in self.blocks)

    @property
    def worst(self) -> Block | None:
        """The block that decides: a refused one before a lower score."""
        if not self.blocks:
            return None
        return min(self.blocks, key=lambda b: (b.result.approved_for_training, b.result.collapse_score or 0.0))

    @property
    def verdict(self) -> str:
        """`waiting`, or the worst verdict of the blocks."""
        worst = self.worst
        if worst is None:
            return "waiting"
        return "warn" if worst.result.verdict == "approved" and self._warns else worst.result.verdict

    @property
    def _warns(self) -> bool:
        return any(block.result.verdict == "warn" for block in self.blocks)


@dataclass(frozen=True)
class Window:
    """A report with the executions that it is about."""

    report: WindowReport
    table: pa.Table  # as the gate sees it, in order of time (different executions, columns)
    keys: Keys  # (executions,)
    first: datetime
    last: datetime
    page: Path | None = None


def validate_executions(
    project: Project, executions: pa.Table, *, accept: bool = False
) -> tuple[ValidationReport, list[Window]]:
    """Judge executions by their declared suite and, what is new of them, by the six stages; write the reports.

    Args:
        project: Says what is declared and where reports lie.
        executions: All executions, with the columns of the log.
        accept: Whether a person overrules the six stages: they then warn instead of refusing.

    Raises:
        DataError: What was remembered cannot be read.
        StorageError: The disk refuses.
    """
    report = validate_table(executions, project.expectations["execution_logs"], related=related_values(project))
    windows = [_with_page(project, window) for window in judge_windows(project, executions)]
    found = [gate for window in windows for gate in window_gates(window.report)]
    if accept:
        found = [gate if gate.passed else gate.model_copy(update={"severity": "warn"}) for gate in found]
    report = report.model_copy(update={"gates": (*report.gates, *found)})
    report.save(validation_file(project))
    if report.approved:
        approve(project, windows)
    return report, windows


def _with_page(project: Project, window: Window) -> Window:
    """Write the block that decides as a page and as JSON beside the report."""
    worst = window.report.worst
    if worst is None:
        return window
    page = validation_file(project).parent / f"{_folder(project, window.report.source).name}.html"
    worst.result.save_report(page)
    worst.result.save_report(page.with_suffix(".json"))
    return replace(window, page=page)


def judge_windows(project: Project, executions: pa.Table) -> list[Window]:
    """Judge the executions that are new since the last approved window of their source.

    Args:
        project: Says where approved windows lie, and how to judge.
        executions: All executions, with the columns of the log.

    Raises:
        DataError: What was remembered cannot be read.
        ConfigError: The gate's settings are wrong.
    """
    config = project.validation.logs
    if not config.enabled or not executions.num_rows:
        return []
    settings = window_settings(config.gate)
    sources = np.array([source or "live" for source in executions["source"].to_pylist()])
    keys = _keys(executions)
    times = executions["timestamp"].combine_chunks()
    order = np.argsort(np.asarray(times.cast("int64")), kind="stable")
    windows = []
    for source in sorted(set(sources.tolist())):
        places = order[sources[order] == source]
        folder = _folder(project, source)
        places = places[~np.isin(keys[places], _seen(folder))]
        if not len(places):
            continue
        rows = executions.take(places)
        moments = [_utc(moment) for moment in rows["timestamp"].to_pylist()]
        first, last = moments[0], moments[-1]
        table = execution_plan_table(rows, project.tasks.names)
        different = _first_of_equals(table)
        table, moments = table.take(different), [moments[place] for place in different]
        report = _judge(source, table, moments, folder, config, settings)
        windows.append(Window(report, table, keys[places], first, last))
    return windows


def _first_of_equals(table: pa.Table) -> NDArray[np.int64]:
    """Return where each different row stands first, in order (different rows,)."""
    places = np.arange(table.num_rows)
    found = table.append_column("place", [places]).group_by(table.column_names).aggregate([("place", "min")])
    return np.sort(found["place_min"].to_numpy())


def approve(project: Project, windows: Sequence[Window]) -> None:
    """Remember windows that were judged: later ones are compared with them. A waiting window is left for later.

    A refused window is remembered too if it is given: a person has overruled the gate, and it becomes the anchor.

    Raises:
        StorageError: The disk refuses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    config = project.validation.logs
    for window in windows:
        report = window.report
        if report.state == "waiting":
            continue
        folder = _folder(project, report.source)
        seen = np.union1d(_seen(folder), window.keys)
        before = _fingerprint(folder)
        kept = window.table.slice(max(0, window.table.num_rows - config.keep_rows))
        with replacing(folder / _ROWS) as path:
            pq.write_table(kept, path, write_page_checksum=True)
        if before is None or not report.approved:
            with replacing(folder / _ANCHOR) as path:
                pq.write_table(kept, path, write_page_checksum=True)
        with replacing(folder / _SEEN) as path:
            pq.write_table(pa.table({"key": pa.array(seen, pa.uint64())}), path, write_page_checksum=True)
        mark = Fingerprint(
            number=before.number + 1 if before is not None else 1,
            rows=report.rows,
            first=window.first,
            last=window.last,
            content=hashlib.sha256(np.sort(window.keys).tobytes()).hexdigest(),
            approved=datetime.now(UTC),
        )
        write_json(folder / _FACTS, mark.model_dump(mode="json"))


def window_settings(path: Path | None) -> GateSettings:
    """Return the gate's settings for windows of a log, from YAML if there is one.

    Healthy windows of one origin score 98 and more, and a planner's own plans start at about 80: hence a threshold that
    is stricter than for tables of any origin.

    A log grows and asks the same things again: rows of the window before are no fault, so they do not count as copies.
    What people ask is theirs to choose, so the meaning of instructions is not embedded.

    Raises:
        ConfigError: The file is missing or wrong.
    """
    settings = GateSettings.from_file(path) if path is not None else GateSettings(collapse_threshold=_THRESHOLD)
    return settings.model_copy(update={"count_copies": False, "embedding_rows": 0})


def window_gates(report: WindowReport) -> list[Gate]:
    """Return the verdict on a window as gates: one that refuses, and one that warns where there is reason to."""
    name = f"six stages, {report.source}"
    since = "since the last approved window" if report.reference is not None else "so far"
    worst = report.worst
    if worst is None:
        return [
            Gate(
                name=name,
                observed=f"{report.rows:,} executions {since}, not judged yet",
                allowed=f"judged from {report.needed:,} on",
                severity="warn",
                passed=False,
                remedy="Nothing to do: they are judged together with those to come.",
            )
        ]
    stretch = f"{worst.first:%Y-%m-%d %H:%M} to {worst.last:%Y-%m-%d %H:%M} UTC"
    if worst.against == "anchor":
        stretch += " beside the first or last accepted window"
    refused = Gate(
        name=name,
        observed=f"{report.verdict}, {report.rows:,} executions {since}; worst {stretch}: {worst.result.reason}",
        allowed="every block of time approved by the six-stage gate",
        passed=report.approved,
        remedy=None if report.approved else _remedy(report, worst),
    )
    if report.verdict != "warn":
        return [refused]
    looked = [block.result.reason for block in report.blocks if block.result.verdict == "warn"]
    warned = refused.model_copy(
        update={
            "severity": "warn",
            "passed": False,
            "observed": "; ".join(dict.fromkeys(looked)),
            "allowed": "all dimensions healthy",
            "remedy": "Look at the page of the window.",
        }
    )
    return [refused, warned]


def _remedy(report: WindowReport, worst: Block) -> str:
    fixes = [fix.title for fix in worst.result.recommendations if fix.priority != "low"][:2]
    advice = f"{'; '.join(fixes)}. " if fixes else ""
    return (
        f"{advice}Find out what changed in {report.source!r} at {worst.first:%Y-%m-%d %H:%M} UTC; if it is meant, "
        "materialise dataset_validation with `accept_windows: true`."
    )


def _judge(
    source: str,
    table: pa.Table,
    moments: Sequence[datetime],
    folder: Path,
    config: LogGateConfig,
    settings: GateSettings,
) -> WindowReport:
    from orchestai.validation.gate import DatasetValidator

    mark, rows = _fingerprint(folder), table.num_rows
    if rows < config.min_rows:
        return WindowReport(source=source, rows=rows, state="waiting", reference=mark, needed=config.min_rows)
    validator = DatasetValidator(
        settings.collapse_threshold, settings.diversity_threshold, settings=settings, use_cache=False
    )
    reference = None if mark is None else validator.profile(_read(folder / _ROWS))
    count = int(np.clip(rows // config.block_rows, 1, config.max_blocks)) if mark is not None else 1
    blocks = []
    for places in np.array_split(np.arange(rows), count):
        first, last = int(places[0]), int(places[-1])
        part = table.slice(first, last - first + 1)
        result = validator.validate_sync(part, reference=reference)
        against: Literal["nothing", "previous"] = "nothing" if mark is None else "previous"
        blocks.append(Block(first=moments[first], last=moments[last], against=against, result=result))
    if mark is not None and mark.number > 1:
        result = validator.validate_sync(table, reference=_read(folder / _ANCHOR))
        blocks.append(Block(first=moments[0], last=moments[-1], against="anchor", result=result))
    state: State = "first" if mark is None else "compared"
    return WindowReport(
        source=source, rows=rows, state=state, blocks=tuple(blocks), reference=mark, needed=config.min_rows
    )


def _folder(project: Project, source: str) -> Path:
    name = "".join(char if char.isalnum() or char in "-_" else "_" for char in source)[:60]
    if name != source:  # two sources never share a folder
        name = f"{name}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    return project.paths.state / "validation" / name


def _keys(executions: pa.Table) -> Keys:
    """Return a hash of each execution's key (n,)."""
    columns = [executions[name].to_pylist() for name in KEY]
    digests = (hashlib.blake2b(repr(key).encode(), digest_size=8).digest() for key in zip(*columns, strict=True))
    return np.frombuffer(b"".join(digests), np.uint64)


def _seen(folder: Path) -> Keys:
    path = folder / _SEEN
    if not path.exists():
        return np.empty(0, np.uint64)
    return np.asarray(_read(path)["key"].to_numpy(), np.uint64)


def _fingerprint(folder: Path) -> Fingerprint | None:
    path = folder / _FACTS
    return Fingerprint.model_validate(read_json(path)) if path.exists() else None


def _read(path: Path) -> Any:
    import pyarrow as pa

    try:
        return read_parquet(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"The approved window {path} cannot be read: {error}",
            remedy=f"Remove the folder {path.parent}: the next window is then a first one again.",
        ) from error


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


__all__ = [
    "Block",
    "Fingerprint",
    "Window",
    "WindowReport",
    "approve",
    "judge_windows",
    "validate_executions",
    "window_gates",
    "window_settings",
]
