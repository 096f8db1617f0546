"""The six-stage gate on our own logs and on files that are dropped into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from orchestai.config.paths import LocalPath
from orchestai.contracts.base import Record


def _check_glob(pattern: str) -> str:
    if not pattern.strip() or "/" in pattern:
        raise ValueError(f"must be a pattern of file names such as '*.csv', got {pattern!r}.")
    return pattern


_UNDER_HOME = ("folder", "reference", "holdout", "verdicts", "approved_to", "rejected_to")


class LogGateConfig(Record):
    """The gate between execution logs and what is learned from them.

    Attributes:
        enabled: Whether new executions are judged against the last approved ones of their source.
        gate: YAML with the gate's settings; a relative path lies in the folder of the configuration.
        min_rows: Fewest new executions of a source that are judged; fewer wait for more.
        block_rows: Fewest executions in a block: a window is cut into blocks of time, and each is judged.
        max_blocks: Most blocks of a window.
        keep_rows: Most executions of an approved window that are kept to compare with; the latest ones.
    """

    enabled: bool = True
    gate: LocalPath | None = None
    min_rows: int = Field(default=300, ge=50)
    block_rows: int = Field(default=500, ge=50)
    max_blocks: int = Field(default=4, ge=1, le=100)
    keep_rows: int = Field(default=20_000, ge=100)


class InboxConfig(Record):
    """A watched folder: every file that lands there is judged, and the verdict is written beside it.

    Attributes:
        name: Identifier.
        folder: The folder; a relative one lies under the home folder.
        pattern: Names of the files that are judged.
        settle_seconds: A file that changed more recently is still being written.
        reference: Healthy data that the files should be like; a relative path lies under the home folder.
        holdout: Rows like the reference that nothing was trained on.
        label: Column that a model would predict.
        gate: YAML with the gate's settings; a relative path lies in the folder of the configuration.
        verdicts: Folder for the verdicts; null writes them beside the file.
        approved_to: Folder that approved files are moved to; null leaves them where they are.
        rejected_to: Folder that all others are moved to; null leaves them where they are.
    """

    name: str = Field(default="inbox", pattern=r"^[A-Za-z0-9_]+$")
    folder: LocalPath
    pattern: Annotated[str, AfterValidator(_check_glob)] = "*"
    settle_seconds: float = Field(default=10.0, ge=0)
    reference: LocalPath | None = None
    holdout: LocalPath | None = None
    label: str | None = None
    gate: LocalPath | None = None
    verdicts: LocalPath | None = None
    approved_to: LocalPath | None = None
    rejected_to: LocalPath | None = None

    @model_validator(mode="after")
    def _check_moves(self) -> Self:
        for name in ("approved_to", "rejected_to"):
            if getattr(self, name) == self.folder:
                raise ValueError(f"`{name}` must be another folder than `folder`. Use null to leave files there.")
        return self


class ValidationConfig(Record):
    """What is judged by the six-stage gate.

    Attributes:
        logs: Our own execution logs.
        inboxes: Watched folders.
    """

    logs: LogGateConfig = LogGateConfig()
    inboxes: tuple[InboxConfig, ...] = (InboxConfig(folder=Path("inbox")),)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [inbox.name for inbox in self.inboxes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two inboxes have the name {twice[0]!r}. Rename one of them.")
        return self

    def resolve(self, home: Path, directory: Path) -> ValidationConfig:
        """Return the same with absolute paths.

        Args:
            home: Folder that data lie under.
            directory: Folder of the configuration, in which settings of the gate lie.
        """
        inboxes = []
        for inbox in self.inboxes:
            changes = {name: _below(home, getattr(inbox, name)) for name in _UNDER_HOME}
            inboxes.append(inbox.model_copy(update={**changes, "gate": _below(directory, inbox.gate)}))
        logs = self.logs.model_copy(update={"gate": _below(directory, self.logs.gate)})
        return ValidationConfig(logs=logs, inboxes=tuple(inboxes))


def _below(folder: Path, path: Path | None) -> Path | None:
    return None if path is None else folder / path.expanduser()
