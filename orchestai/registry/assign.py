"""Which side of a release an instruction is on: a hash decides, so that it stays there."""

from __future__ import annotations

import hashlib

from orchestai.contracts import ArmName, Instruction, ServedArm
from orchestai.registry.records import Release


def unit_of(instruction: Instruction) -> str:
    """Return what is put on a side as a whole, and counted once: the instruction of a tenant."""
    text = " ".join(instruction.text.split())
    return hashlib.sha256(f"{instruction.tenant}\n{text}".encode("utf-8", "replace")).hexdigest()[:24]


def place_of(release_id: str, unit: str) -> float:
    """Return the place of a unit between 0 and 1; another one for each release."""
    return int(hashlib.sha256(f"{release_id}\n{unit}".encode()).hexdigest()[:13], 16) / 16**13


def side_of(release: Release, unit: str) -> ServedArm:
    """Return the side that a unit is on; while the share rises nobody leaves the challenger's side."""
    arm: ArmName = "challenger" if place_of(release.id, unit) < release.share else "champion"
    return ServedArm(
        release=release.id,
        arm=arm,
        share=release.share,
        version=release.challenger if arm == "challenger" else release.champion,
        task_type=release.task_type,
    )
