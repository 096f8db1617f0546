"""How workers behave: learned from the project's log, watched while it runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestai.app.places import anomaly_folder
from orchestai.config import Project
from orchestai.contracts import WorkerCatalog
from orchestai.errors import NoWorkerError
from orchestai.logs import read_executions
from orchestai.routing.assign import candidates
from orchestai.workers import CircuitBreaker

if TYPE_CHECKING:
    from orchestai.routing.anomaly.behaviour import Observation
    from orchestai.routing.anomaly.watch import BehaviourWatch
    from orchestai.training.anomaly import AnomalyTraining


class AnomalyResult(NamedTuple):
    """What came of a training.

    Attributes:
        checkpoint: Folder of the model.
        data_hash: Hash of the calls that it was trained on.
        trained: The model and how it was measured.
    """

    checkpoint: Path
    data_hash: str
    trained: AnomalyTraining


def observations(project: Project, *, since: datetime | None = None) -> list[Observation]:
    """Return what workers did by the log, in the order in which executions ended.

    Raises:
        StorageError: The log cannot be read.
    """
    from orchestai.routing.anomaly.behaviour import observe

    found = []
    for record in reversed(read_executions(project.paths.execution_logs, since=since)):
        accepted = record.success if record.checks else None
        found += [seen for each in record.subtasks if (seen := observe(each, accepted)) is not None]
    return found


def train_anomaly_on(project: Project, *, out: Path | None = None, since: datetime | None = None) -> AnomalyResult:
    """Learn from the project's log how its workers behave, and save it.

    Raises:
        DataError: No worker has enough calls.
        StorageError: The log cannot be read, or the checkpoint cannot be written.
    """
    from orchestai.routing.anomaly.store import save_anomaly
    from orchestai.training.anomaly import train_anomaly

    seen = observations(project, since=since)
    config = project.engine.anomaly
    trained = train_anomaly(seen, config)
    folder = out or anomaly_folder(project)
    data_hash = hashlib.sha256(repr(seen).encode()).hexdigest()
    save_anomaly(trained.model, folder, data_hash=data_hash, seed=config.seed)
    return AnomalyResult(folder, data_hash, trained)


def build_watch(
    project: Project,
    breakers: Mapping[str, CircuitBreaker],
    workers: WorkerCatalog,
    why_not: Callable[[str], str | None],
) -> BehaviourWatch | None:
    """Return who watches the workers; None without a model, without breakers, or where it is switched off.

    Raises:
        CheckpointError: The model that is there cannot be used.
    """
    config, folder = project.engine.anomaly, anomaly_folder(project)
    if not config.enabled or not breakers or not (folder / "manifest.json").exists():
        return None
    from orchestai.routing.anomaly.store import load_anomaly
    from orchestai.routing.anomaly.watch import BehaviourWatch

    def replaceable(worker: str, task_type: str) -> bool:
        if task_type not in project.tasks.names:
            return False
        try:
            able = candidates(project.tasks[task_type], workers, project.routing)
        except NoWorkerError:
            return False
        return any(each.name != worker and why_not(each.name) is None for each in able)

    return BehaviourWatch(
        load_anomaly(folder), config, project.engine.breaker, breaker_of=breakers.get, replaceable=replaceable
    )
