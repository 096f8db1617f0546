"""Which version served an execution, and in which comparison."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orchestai.contracts.base import Record

ArmName = Literal["champion", "challenger"]


class ServedArm(Record):
    """The side of one release that an execution was on.

    Attributes:
        release: Identity of the release.
        arm: Its side: what was served before, or what is to take over.
        share: Probability with which an instruction was put on the challenger's side at that moment.
        version: What served that side: a version of the registry, or a version of a prompt.
        task_type: Task type of the prompt, where prompts are compared.
    """

    release: str
    arm: ArmName
    share: float = Field(gt=0, lt=1)
    version: str
    task_type: str | None = None


class ServedBy(Record):
    """Who served an execution.

    Attributes:
        version: Version of the registry; null where the checkpoint folder was served.
        digest: Content of that version.
        canary: Whether it was the challenger of a release.
        unit: What was put on a side as a whole: hash of tenant and instruction.
        arms: Sides of the releases that went on.
        prompts: Version of the prompt to use, by task type; other task types use the active one.
    """

    version: str | None = None
    digest: str | None = None
    canary: bool = False
    unit: str = ""
    arms: tuple[ServedArm, ...] = ()
    prompts: dict[str, str] = Field(default_factory=dict)
