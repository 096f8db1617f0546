"""Families of examples: what a score is broken down by, as far as the examples carry it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from orchestai.contracts import PlanExample
from orchestai.evaluation.evaluate import is_chain

FAMILIES: dict[str, Callable[[PlanExample], str]] = {
    "sub-tasks": lambda example: str(len(example.task_types)) if len(example.task_types) < 6 else "6 or more",
    "shape": lambda example: (
        "single" if len(example.task_types) == 1 else "chain" if is_chain(example) else "branching"
    ),
    "writing": lambda example: writing(example.instruction),
    "template": lambda example: example.group,
}
"""Name of a family to what an example is in it; empty where the example does not say."""


def by_family(examples: Sequence[PlanExample], family: str) -> dict[str, list[int]]:
    """Return the places of the examples of each member of `family`; members of one example count."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, example in enumerate(examples):
        if member := FAMILIES[family](example):
            places[member].append(place)
    return dict(sorted(places.items()))


def writing(text: str) -> str:
    """Say how a text is written, as far as its letters tell: examples carry no language.

    `plain Latin` is mostly English here, but a text of another language without accents counts as that too.
    """
    letters = [letter for letter in text if letter.isalpha()]
    if any(ord(letter) > 0x24F for letter in letters):
        return "other script"
    return "accented Latin" if any(ord(letter) > 0x7F for letter in letters) else "plain Latin"
