"""What a router reads of a sub-task: the same words when it learns from a log and when it chooses live."""

from __future__ import annotations

from collections.abc import Sequence


def subtask_texts(instruction: str, descriptions: Sequence[str]) -> tuple[str, ...]:
    """Return the text of each sub-task of one plan.

    The only sub-task of a plan is the whole instruction, in the words of the user; one of several is what its
    description says, or the instruction where it says nothing.
    """
    if len(descriptions) == 1:
        return (instruction,)
    return tuple(description.strip() or instruction for description in descriptions)
