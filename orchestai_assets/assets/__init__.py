"""One file an asset; each loads, calls the library once and says what came of it."""

import dagster as dg

from orchestai.config import Project
from orchestai_assets.assets.dataset_validation import dataset_validation
from orchestai_assets.assets.evaluation_report import evaluation_report
from orchestai_assets.assets.execution_logs import execution_logs_asset
from orchestai_assets.assets.model_release import model_release
from orchestai_assets.assets.phase1_checkpoint import phase1_checkpoint_asset
from orchestai_assets.assets.phase1_report import phase1_report
from orchestai_assets.assets.training_data import training_data


def all_assets(project: Project, days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return all assets of a project, upstream first."""
    return [
        execution_logs_asset(days, project),
        dataset_validation,
        training_data,
        phase1_checkpoint_asset(project),
        phase1_report,
        evaluation_report,
        model_release,
    ]
