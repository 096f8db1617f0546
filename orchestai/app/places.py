"""Where the tables, checkpoints and reports of a project lie: one answer for all hosts."""

from __future__ import annotations

from pathlib import Path

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


def phase1_folder(project: Project) -> Path:
    """Return the folder of the Phase 1 checkpoint, which plans are made with."""
    return project.paths.checkpoints / "phase1"


def previous_phase1_folder(project: Project) -> Path:
    """Return the folder of the checkpoint that the Phase 1 checkpoint replaced."""
    return project.paths.checkpoints / "phase1.previous"


def report_folder(project: Project) -> Path:
    """Return the folder of the report on Phase 1."""
    return project.paths.reports / "phase1"
