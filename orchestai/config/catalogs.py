"""Files of workers and task types; the entries are the contracts' own records."""

from __future__ import annotations

from orchestai.contracts import TaskType, WorkerProfile
from orchestai.contracts.base import Record


class WorkersFile(Record):
    """One file of `workers/`.

    Attributes:
        workers: The workers, in order.
    """

    workers: tuple[WorkerProfile, ...]


class TaskTypesFile(Record):
    """One file of `task_types/`.

    Attributes:
        task_types: The task types, in order.
    """

    task_types: tuple[TaskType, ...]
