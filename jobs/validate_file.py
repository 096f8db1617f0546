"""One file that was dropped into a watched folder: the six-stage gate, and the verdict beside it."""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from jobs.keys import VALIDATE_FILE
from orchestai.config import Project
from resources.executors import executor_for
from resources.kubernetes import step_tags
from resources.orchestai_resource import OrchestAIResource

ASSET_PREFIX = "dropped_files"


class DroppedFileConfig(dg.Config):
    """The file."""

    path: str = Field(description="The file to judge.")
    inbox: str = Field(default="inbox", description="Name of the inbox: what the file is compared with.")
    content: str | None = Field(default=None, description="SHA-256 that it had when it was seen; null: as it is.")


def validate_file_job(project: Project) -> dg.JobDefinition:
    """Return the job."""

    @dg.op(
        name="validate_dropped_file",
        description="Judges the file and writes the verdict as JSON and as a page; a refusal is a result.",
        pool=project.dagster.steps["cpu"].pool,
        tags=step_tags(project.dagster, "cpu"),
    )
    def validate_dropped_file(
        context: dg.OpExecutionContext, config: DroppedFileConfig, orchestai: OrchestAIResource
    ) -> None:
        from orchestai.app.inbox import inbox_named, judge_file
        from orchestai_assets.verdicts import verdict_metadata

        settings = orchestai.project
        found = judge_file(
            Path(config.path),
            inbox_named(settings.validation.inboxes, config.inbox),
            cache_folder=settings.paths.state / "validation" / "cache",
            content=config.content,
        )
        metadata: dict[str, Any] = {
            "verdict": found.verdict,
            "reason": found.reason,
            "file": dg.MetadataValue.path(found.path),
            "json": dg.MetadataValue.path(found.json),
        }
        if found.result is not None:
            metadata = {**verdict_metadata(found.result, found.html), **metadata}
        context.instance.add_run_tags(context.run_id, {"orchestai/verdict": found.verdict})
        context.log_event(
            dg.AssetMaterialization(asset_key=[ASSET_PREFIX, config.inbox, Path(config.path).name], metadata=metadata)
        )
        if found.result is None:
            raise dg.Failure(description=found.reason, metadata=metadata, allow_retries=False)
        (context.log.info if found.result.approved_for_training else context.log.warning)(
            f"{Path(config.path).name}: {found.verdict}: {found.reason}"
        )

    @dg.job(
        name=VALIDATE_FILE,
        executor_def=executor_for(project.dagster),
        description="Judges one dropped file by the six-stage gate and writes the verdict beside it.",
    )
    def validate_file() -> None:
        validate_dropped_file()

    return validate_file
