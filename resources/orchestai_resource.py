"""The project and its runtime, for assets, ops and sensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field, PrivateAttr

from orchestai.config import Project, load_project

if TYPE_CHECKING:
    from orchestai.app.runtime import Runtime


class OrchestAIResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Gives the project, and the runtime for as long as a step needs it."""

    project_dir: str | None = Field(
        default=None, description="Folder of the YAML configuration; null: ORCHESTAI_PROJECT_DIR, or the packaged one."
    )
    target: str | None = Field(
        default=None, description="Target of profiles.yml; null: ORCHESTAI_TARGET, or the profile's own."
    )
    mock: bool = Field(
        default=False, description="Let the simulator play every worker: no network, and every answer is marked."
    )

    _project: Project | None = PrivateAttr(default=None)

    @property
    def project(self) -> Project:
        """The configuration, read once.

        Raises:
            ConfigError: It is wrong; all problems at once.
        """
        if self._project is None:
            directory = Path(self.project_dir) if self.project_dir else None
            self._project = load_project(directory, target=self.target)
        return self._project

    @contextmanager
    def runtime(self, *, log: bool = True, learned: bool = True) -> Iterator["Runtime"]:
        """Open planner, engine, workers and log; closed at the end of the block.

        Args:
            log: Write execution logs. A step that runs one sub-task has nothing to log.
            learned: Use the learned planner where a checkpoint exists. Steps that do not plan leave torch out.

        Raises:
            StorageError: The log directory cannot be written.
            CheckpointError: The configured checkpoint cannot be used.
        """
        from orchestai.app.runtime import open_runtime

        with open_runtime(self.project, mock=self.mock, log=log, learned=learned) as runtime:
            yield runtime
