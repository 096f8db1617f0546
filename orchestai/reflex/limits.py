"""What an instruction may hold; everything else is a bad request (400)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestai.config.reflex import ReflexLimitsConfig
from orchestai.contracts import Instruction
from orchestai.reflex.keys import is_media

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


def problems_of(instruction: Instruction, limits: ReflexLimitsConfig) -> list[str]:
    """Return what is wrong, each with rule, value and remedy."""
    return list(_check(instruction, limits))


def _check(instruction: Instruction, limits: ReflexLimitsConfig) -> Iterator[str]:
    if len(instruction.text) > limits.max_text_chars:
        yield (
            f"`text` may have {limits.max_text_chars:,} characters, got {len(instruction.text):,}. "
            "Put long material into an input."
        )
    if len(instruction.inputs) > limits.max_inputs:
        yield f"`inputs` may have {limits.max_inputs} entries, got {len(instruction.inputs)}. Join some of them."
    for name, value in instruction.inputs.items():
        if _NAME.fullmatch(name) is None:
            yield (
                f"the name of an input must be a letter and up to 63 letters, digits, '_', '.' or '-', "
                f"got {name[:80]!r}. Rename it."
            )
        allowed = limits.max_media_chars if is_media(name) else limits.max_input_chars
        if len(value) > allowed:
            yield f"`inputs.{name[:80]}` may have {allowed:,} characters, got {len(value):,}. Shorten or split it."
        if not is_media(name) and "\x00" in value:
            yield f"`inputs.{name[:80]}` holds a null character. Send text, or name the input image or audio."
    if len(instruction.constraints) > limits.max_constraints:
        yield (
            f"`constraints` may have {limits.max_constraints} entries, got {len(instruction.constraints)}. "
            "Join some of them."
        )
    for index, constraint in enumerate(instruction.constraints):
        if not constraint.strip():
            yield f"`constraints[{index}]` is empty. Leave it out."
        if len(constraint) > limits.max_constraint_chars:
            yield (
                f"`constraints[{index}]` may have {limits.max_constraint_chars:,} characters, "
                f"got {len(constraint):,}. Shorten it."
            )
