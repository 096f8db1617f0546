"""What makes two instructions the same to the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from orchestai.contracts import Instruction
from orchestai.reflex.normalise import cache_text

MEDIA = ("image", "audio")


def is_media(name: str) -> bool:
    """Say whether an input of this name is a picture or a recording."""
    return name.startswith(MEDIA)


def exact_key(instruction: Instruction, *, model_version: str) -> str:
    """Return the key of an instruction: everything that the answer depends on."""
    return _digest([*_context(instruction, model_version), cache_text(instruction.text)])


def near_scope(instruction: Instruction, *, model_version: str, pii: Mapping[str, str]) -> str:
    """Return the scope within which wording may differ; other personal data is another scope."""
    return _digest([*_context(instruction, model_version), sorted(pii.items())])


def is_cacheable(instruction: Instruction) -> bool:
    """Say whether the answer depends on the instruction alone: a media path may hold another file tomorrow."""
    return all(not is_media(name) or value.startswith("data:") for name, value in instruction.inputs.items())


def _context(instruction: Instruction, model_version: str) -> list[object]:
    # Priority and budget change how an answer is made, not which answer is right.
    return [
        instruction.tenant,
        instruction.session,
        model_version,
        sorted(instruction.inputs.items()),
        [cache_text(constraint) for constraint in instruction.constraints],
        [check.model_dump(mode="json") for check in instruction.acceptance],
    ]


def _digest(parts: list[object]) -> str:
    # As JSON, no two lists of parts run together into the same bytes.
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()
