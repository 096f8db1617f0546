"""Is it worth training again: decided on what was validated, what was learned from and what drifted."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from orchestai.app.places import execution_tables
from orchestai.config import Project, RetrainConfig
from orchestai.contracts.base import Record
from orchestai.errors import DataError


class Validated(NamedTuple):
    """The last dataset that passed validation.

    Attributes:
        executions: Executions that were ingested when it was validated, over all days.
        content: Hash of what was validated.
    """

    executions: int
    content: str


class RetrainState(Record):
    """What was asked for last.

    Attributes:
        executions: Executions that were ingested then.
        content: What was validated then.
        drift: Drift that was answered by a training.
        at: When.
    """

    executions: int = 0
    content: str = ""
    drift: str = ""
    at: datetime | None = None


class RetrainDecision(NamedTuple):
    """Whether to train, and why.

    Attributes:
        run_key: Names the training for ever: the same content is never trained on twice by this way; null: do not.
        why: The reason, for people.
        state: What to remember.
    """

    run_key: str | None
    why: str
    state: RetrainState


def decide_retraining(
    config: RetrainConfig,
    state: RetrainState,
    *,
    validated: Validated | None,
    learned: int,
    drift: str,
    running: int,
    now: datetime,
) -> RetrainDecision:
    """Decide.

    Args:
        config: When it is worth it.
        state: What was asked for last.
        validated: The last dataset, if it passed.
        learned: Executions that had been ingested when the planner was trained last; 0 if it never was.
        drift: Identity of the drift that was found, empty for none.
        running: Trainings that run or wait.
        now: The time.
    """
    if validated is None:
        return RetrainDecision(None, "The last dataset has not passed validation.", state)
    if validated.executions < state.executions:  # days were taken away: counting starts there
        state = state.model_copy(update={"executions": validated.executions})
    # A training that failed or was refused is not tried again on every new row, but after as many new ones.
    fresh = validated.executions - min(max(learned, state.executions), validated.executions)
    by_drift = config.on_drift and drift not in ("", state.drift) and fresh > 0
    if fresh < config.new_rows and not by_drift:
        why = f"{fresh} executions are validated and not learned from; {config.new_rows} start a training."
        return RetrainDecision(None, why, state)
    if running:
        return RetrainDecision(None, f"{running} training(s) run or wait already.", state)
    if state.at is not None and now < state.at + timedelta(minutes=config.pause_minutes):
        until = state.at + timedelta(minutes=config.pause_minutes)
        return RetrainDecision(
            None, f"The last training was started at {state.at:%H:%M}; pause until {until:%H:%M}.", state
        )
    why = f"drift, and {fresh} new executions" if by_drift else f"{fresh} new validated executions"
    asked = RetrainState(executions=validated.executions, content=validated.content, drift=drift or state.drift, at=now)
    run_key = f"retrain:{validated.content}" + (f":{drift}" if by_drift else "")
    return RetrainDecision(run_key, why, asked)


def learned_tables(project: Project) -> list[Path]:
    """Return the tables that are validated and learned from: the newest days that hold `window_rows` executions.

    Raises:
        DataError: A table is damaged.
    """
    window = project.automation.retrain.window_rows
    chosen: list[Path] = []
    rows = 0
    for path in reversed(execution_tables(project)):
        if rows >= window:
            break
        chosen.append(path)
        rows += count_rows(path)
    return chosen[::-1]


def ingested_executions(project: Project) -> int:
    """Return how many executions the tables of all days hold; only their footers are read.

    Raises:
        DataError: A table is damaged.
    """
    return sum(count_rows(path) for path in execution_tables(project))


def count_rows(path: Path) -> int:
    """Return the rows of a Parquet file.

    Raises:
        DataError: It is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"The table {path} cannot be read: {error}.", remedy="Delete it and ingest its day.") from error


def tables_facts(paths: list[Path]) -> str:
    """Return a hash of names, sizes and times: cheap to compare, and different whenever a table was replaced."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            stat = path.stat()
        except FileNotFoundError:  # replaced just now: the next look sees the new one
            continue
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
