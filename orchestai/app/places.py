"""Where the tables, checkpoints and reports of a project lie: one answer for all hosts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from orchestai.config import Project
from orchestai.logs.feedback import feedback_of


def feedback_folder(project: Project) -> Path:
    """Return the folder of what people and judges say of executions."""
    return feedback_of(project.paths.execution_logs)


def executions_folder(project: Project) -> Path:
    """Return the folder of the tables of executions, one file a day."""
    return project.paths.data / "execution_logs"


def executions_state(project: Project) -> Path:
    """Return the folder of what is known of executions that are not ended."""
    return project.paths.state / "executions"


def execution_tables(project: Project) -> list[Path]:
    """Return the tables of all days present, the oldest first."""
    return sorted(executions_folder(project).glob("????-??-??.parquet"))


def training_folder(project: Project) -> Path:
    """Return the folder of the training data."""
    return project.paths.data / "training_data"


def validation_file(project: Project) -> Path:
    """Return the file of the verdict on the executions."""
    return project.paths.reports / "validation" / "report.json"


def related_values(project: Project) -> Callable[[str, str], Collection[Any] | None]:
    """Return what finds the values that the rule `relationships` compares with, None where there are none."""

    def find(table: str, field: str) -> Collection[Any] | None:
        catalogs = {"task_types": project.tasks.names, "workers": project.workers.names}
        if table in catalogs:
            return catalogs[table] if field == "name" else None
        folders = {"execution_logs": executions_folder(project), "training_data": training_folder(project)}
        if table not in folders or not any(folders[table].glob("*.parquet")):
            return None
        from orchestai.validation import read_table

        found = read_table(folders[table])
        return found[field].unique().to_pylist() if field in found.column_names else None

    return find


def phase1_folder(project: Project) -> Path:
    """Return the folder of the Phase 1 checkpoint, which plans are made with."""
    return project.paths.checkpoints / "phase1"


def previous_phase1_folder(project: Project) -> Path:
    """Return the folder of the checkpoint that the Phase 1 checkpoint replaced."""
    return project.paths.checkpoints / "phase1.previous"


def router_folder(project: Project) -> Path:
    """Return the folder of the router's checkpoint, which workers are chosen with."""
    return project.paths.checkpoints / "router"


def routing_folder(project: Project) -> Path:
    """Return the folder of the tables that routing is learned from: outcomes, workers, features."""
    return project.paths.data / "routing"


def report_folder(project: Project) -> Path:
    """Return the folder of the report on Phase 1."""
    return project.paths.reports / "phase1"


def phase2_folder(project: Project) -> Path:
    """Return the folder of the Phase 2 checkpoint: the Phase 1 checkpoint with a policy that was reinforced."""
    return project.paths.checkpoints / "phase2"


def phase2_report_folder(project: Project) -> Path:
    """Return the folder of the report on Phase 2."""
    return project.paths.reports / "phase2"


def anomaly_folder(project: Project) -> Path:
    """Return the folder of the model of how workers behave."""
    return project.paths.checkpoints / "anomaly"
