"""The starter corpus: instructions with checked plans, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from orchestai.contracts import (
    AcceptanceCheck,
    Instruction,
    PlanExample,
    Split,
    Subtask,
    WorkflowGraph,
    planning_text,
)
from orchestai.contracts.base import Record
from orchestai.contracts.instruction import clean_instruction_text
from orchestai.errors import DataError, OrchestAIError, StorageError
from orchestai.importers.splits import normalized, split_by_hash

_INPUTS = frozenset({"text", "image", "audio"})
_MEDIA = frozenset({"image", "audio"})


class StarterRecord(Record):
    """One instruction of the starter corpus with its plan.

    Attributes:
        id: Identity of the record.
        template: Kind of need; its records share the plan's shape and always stand in one split.
        domain: Where such a need comes up.
        language: Of the instruction, as a two-letter code.
        instruction: What is asked.
        inputs: `text` as it is; `image` and `audio` as paths relative to the corpus.
        nodes: The sub-tasks, parents before children.
        dependencies: Parents of each node.
        acceptance: Checks on the final answer.
    """

    id: str = Field(min_length=1, max_length=128)
    template: str = Field(min_length=1)
    domain: str
    language: str = Field(pattern="^[a-z]{2}$")
    instruction: str
    inputs: dict[str, str] = Field(default_factory=dict)
    nodes: tuple[Subtask, ...]
    dependencies: tuple[tuple[int, ...], ...]
    acceptance: tuple[AcceptanceCheck, ...] = ()

    @field_validator("instruction")
    @classmethod
    def _check_instruction(cls, text: str) -> str:
        return clean_instruction_text(text)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ = self.graph
        for child, parents in enumerate(self.dependencies):
            if any(parent >= child for parent in parents):
                raise ValueError(f"node {child} comes before one of its parents {list(parents)}")
        unknown = sorted(self.inputs.keys() - _INPUTS)
        if unknown:
            raise ValueError(f"unknown inputs: {', '.join(unknown)}; known: {', '.join(sorted(_INPUTS))}")
        for name in _MEDIA & self.inputs.keys():
            path = Path(self.inputs[name])
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"inputs.{name} must be a path below the corpus, got {self.inputs[name]!r}")
        return self

    @property
    def graph(self) -> WorkflowGraph:
        """The gold plan."""
        return WorkflowGraph(nodes=self.nodes, dependencies=self.dependencies)

    @property
    def split(self) -> Split:
        """Where the record belongs: decided by its template, so that no template spans two splits."""
        return split_by_hash(self.template)

    def to_example(self) -> PlanExample:
        """Return the record for training and measuring; the gold descriptions stay out of it."""
        return PlanExample(
            id=self.id,
            instruction=planning_text(self.instruction, self.inputs),
            task_types=tuple(node.task_type for node in self.nodes),
            dependencies=self.dependencies,
            group=self.template,
            split=self.split,
        )

    def to_instruction(self, media_root: Path) -> Instruction:
        """Return the record as a request that can be run.

        Args:
            media_root: Folder that the paths of media start from.
        """
        inputs = {name: str(media_root / value) if name in _MEDIA else value for name, value in self.inputs.items()}
        return Instruction(id=self.id, text=self.instruction, inputs=inputs, acceptance=self.acceptance)


def read_starter(path: Path) -> list[StarterRecord]:
    """Read the corpus.

    Args:
        path: A file, or a folder: then its instructions.jsonl, or without one all its *.jsonl.

    Raises:
        DataError: A record is wrong; all wrong ones are named with file and line.
        StorageError: A file cannot be read.
    """
    records: list[StarterRecord] = []
    problems: list[str] = []
    ids: dict[str, str] = {}
    texts: dict[str, tuple[str, Split]] = {}
    for file in _files(path):
        for number, line in _lines(file):
            place = f"{file}:{number}"
            try:
                record = StarterRecord.model_validate(_parse(line))
            except ValidationError as error:
                problems += [f"{place}: {_where(entry['loc'])}{entry['msg']}" for entry in error.errors()]
                continue
            except (OrchestAIError, ValueError) as error:
                problems.append(f"{place}: {error}")
                continue
            if record.id in ids:
                problems.append(f"{place}: the id {record.id!r} was used at {ids[record.id]}")
            ids.setdefault(record.id, place)
            key = normalized(planning_text(record.instruction, record.inputs))
            first, split = texts.setdefault(key, (place, record.split))
            if split != record.split:
                problems.append(f"{place}: the same instruction stands at {first}, which is in another split")
            records.append(record)
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise DataError(f"{len(problems)} problems in the starter corpus:\n{listed}")
    if not records:
        raise DataError(f"{path} holds no record.", remedy="Give a JSON Lines file of the starter format.")
    return records


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        whole = path / "instructions.jsonl"
        files = [whole] if whole.is_file() else sorted(path.glob("*.jsonl"))
    else:
        files = [path] if path.is_file() else []
    if not files:
        raise DataError(f"There is no starter corpus at {path}.", remedy="Give its .jsonl file or its folder.")
    return files


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise StorageError(f"Cannot read {file}: {error.strerror}.", path=str(file)) from error


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) + ": " if location else ""
