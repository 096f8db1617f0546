"""What the registry holds."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from orchestai.contracts.base import Record

MODEL = "model"
"""Subject of the release of a model version; those of prompts are `prompt:<task type>`."""
_PROMPT = "prompt:"


def prompt_subject(task_type: str) -> str:
    """Return the subject of a release of a prompt."""
    return f"{_PROMPT}{task_type}"


class ModelVersion(Record):
    """One version: an immutable bundle of checkpoints.

    Attributes:
        version: Number in the registry.
        digest: Hash of the content.
        folder: Where the checkpoints lie, one folder a part.
        parts: Digest of each part: `phase1`, `phase2`, `router`, as far as they are there.
        created: When it was registered, UTC.
        data_hash: Hash of the data of each part.
        code_version: Version of the package that trained it.
        seed: Seed of each part's training.
        parents: Versions and checkpoints that it was made from.
        metrics: What was measured in training, as `part.metric`.
        notes: Anything else, by name.
    """

    version: str
    digest: str
    folder: Path
    parts: dict[str, str]
    created: datetime
    data_hash: dict[str, str] = Field(default_factory=dict)
    code_version: str = ""
    seed: dict[str, int | None] = Field(default_factory=dict)
    parents: tuple[str, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)
    notes: dict[str, str] = Field(default_factory=dict)


class Aliases(Record):
    """Which version plays which role.

    Attributes:
        champion: Served.
        challenger: On its way to take over.
        previous: The champion before this one.
    """

    champion: str | None = None
    challenger: str | None = None
    previous: str | None = None


class Release(Record):
    """A new version on its way, or a new prompt.

    Attributes:
        id: Identity; it also decides which instruction is on which side.
        subject: `model`, or `prompt:<task type>`.
        champion: What was served before.
        challenger: What takes over.
        phase: Whether the decision is still to come (`canary`) or the former champion keeps a rest (`holdback`).
        stage: Which stage of the canary it is.
        share: Part of the instructions that the challenger gets.
        started: When it began, UTC.
        stage_started: When this share began, UTC.
    """

    id: str
    subject: str = MODEL
    champion: str
    challenger: str
    phase: Literal["canary", "holdback"] = "canary"
    stage: int = Field(default=0, ge=0)
    share: float = Field(gt=0, lt=1)
    started: datetime
    stage_started: datetime

    @property
    def task_type(self) -> str | None:
        """Task type of the prompt that is released; None for a model."""
        return self.subject.removeprefix(_PROMPT) if self.subject.startswith(_PROMPT) else None


class Ended(Record):
    """How the last release of a subject ended.

    Attributes:
        release: Its identity.
        challenger: What was to take over.
        action: How it ended.
        why: The reason, in words.
        at: When, UTC.
    """

    release: str
    challenger: str
    action: Literal["finish", "rollback", "cancelled"]
    why: str
    at: datetime


class RegistryState(Record):
    """Everything that changes in the registry, as one value.

    Attributes:
        aliases: Which version plays which role.
        releases: Releases that go on, by subject.
        prompts: Prompts that took over from the active ones of the configuration, by task type.
        ended: How the last release of each subject ended.
    """

    aliases: Aliases = Aliases()
    releases: dict[str, Release] = Field(default_factory=dict)
    prompts: dict[str, str] = Field(default_factory=dict)
    ended: dict[str, Ended] = Field(default_factory=dict)

    @property
    def revision(self) -> str:
        """Hash of the content: what a compare-and-set compares."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def update(self, **changes: object) -> RegistryState:
        """Return the state with some fields changed, checked again."""
        return RegistryState.model_validate({**dict(self), **changes})
