"""What one step hands to the next: JSON files under the project's state folder, never pickle."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field, PrivateAttr

from orchestai.config import load_project


class JsonFiles(dg.ConfigurableIOManager):
    """Writes an op's output as JSON, where the other steps of the run can read it.

    Steps may run in processes and pods of their own; the folder lies on the volume that they share.
    """

    directory: str | None = Field(
        default=None, description="Where to write; null: the folder `steps` under the project's `paths.state`."
    )

    _root: Path | None = PrivateAttr(default=None)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write one output."""
        path = self._path(context)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(obj, ensure_ascii=False), encoding="utf-8")
        temporary.replace(path)

    def load_input(self, context: dg.InputContext) -> Any:
        """Read what an earlier step wrote."""
        if context.upstream_output is None:
            raise dg.DagsterInvariantViolationError(f"The input {context.name!r} has no step that gives it.")
        return json.loads(self._path(context.upstream_output).read_text(encoding="utf-8"))

    def _path(self, context: dg.OutputContext) -> Path:
        # A step's name may hold brackets, and a run that is launched again starts a folder of its own.
        parts = [part.replace("[", "-").replace("]", "") for part in context.get_identifier()]
        return self._folder().joinpath(*parts).with_suffix(".json")

    def _folder(self) -> Path:
        if self._root is None:
            self._root = Path(self.directory) if self.directory else load_project().paths.state / "steps"
        return self._root
