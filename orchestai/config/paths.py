"""Where files lie."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from orchestai.contracts.base import Record

DEFAULT_HOME = Path(".orchestai")


def _check_local(path: Path) -> Path:
    # pathlib folds the second slash of `s3://`: look for the scheme that is left.
    head = path.parts[0] if path.parts else ""
    if len(head) > 2 and head.endswith(":"):
        raise ValueError(f"must be a path of this machine, got the URL {str(path)!r}. Mount the bucket.")
    return path


LocalPath = Annotated[Path, AfterValidator(_check_local)]


class PathsConfig(Record):
    """Folders as the YAML names them; relative ones lie under `home`.

    Attributes:
        home: Folder of all state; relative to the current working directory.
        execution_logs: Segments of the execution log.
        quarantine: Log lines that could not be read.
        data: Parquet tables.
        checkpoints: Learned weights.
        reports: Reports and plots.
        embeddings: Cache of text embeddings.
        state: Process ids and ports of local servers, and other small files.
    """

    home: LocalPath = DEFAULT_HOME
    execution_logs: LocalPath = Path("execution_logs")
    quarantine: LocalPath = Path("quarantine")
    data: LocalPath = Path("data")
    checkpoints: LocalPath = Path("checkpoints")
    reports: LocalPath = Path("reports")
    embeddings: LocalPath = Path("embeddings")
    state: LocalPath = Path("state")

    def resolve(self, home: Path) -> PathsConfig:
        """Return the same folders as absolute paths.

        Args:
            home: Folder that relative paths start from; absolute.
        """
        folders = {name: home / Path(value).expanduser() for name, value in self if name != "home"}
        return PathsConfig(home=home, **folders)
