"""Instructions made by a grammar: a scenario is drawn, its plan is known, and words are found for it.

They join the training split only. Nothing here has seen held-out instructions; what comes out too close to
one of those that the caller names is dropped.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise

from orchestai.contracts import PlanExample, TaskCatalog, planning_text
from orchestai.errors import InputError
from orchestai.importers.splits import normalized
from orchestai.training.phrases import PhraseBook, load_books
from orchestai.training.scenarios import draw_scenario
from orchestai.training.wording import Wording

GROUP = "synthetic"
"""Groups of synthetic examples start with this."""

FOLDS = 2
"""Rows of different folds are worded with different phrases; a row's group names its fold."""

_LANGUAGES = {"en": 76, "de": 10, "es": 7, "fr": 7}
_NEAR = 0.7
"""Share of common word pairs from which on two instructions count as the same one."""


def synthesize(
    *,
    rows: int,
    seed: int,
    avoid: Iterable[str] = (),
    books: Sequence[PhraseBook] | None = None,
    max_subtasks: int = 10,
) -> list[PlanExample]:
    """Make instructions with plans; equal arguments give equal examples.

    Args:
        rows: How many.
        seed: Of all draws.
        avoid: Instructions that nothing may be close to: those held out.
        books: Phrases by language; None means the packaged ones.
        max_subtasks: Longer plans are drawn again.

    Raises:
        DataError: The packaged phrases cannot be read.
        InputError: The phrases cannot make so many different instructions.
    """
    rng = random.Random(f"{GROUP}-{seed}")
    spoken = load_books() if books is None else books
    wordings = {(book.language, fold): Wording(book.fold(fold, FOLDS), rng) for book in spoken for fold in range(FOLDS)}
    languages = [book.language for book in spoken]
    shares = [_LANGUAGES.get(language, 5) for language in languages]
    far = _Distance(avoid)
    seen: set[str] = set()
    made: list[PlanExample] = []
    tries = 0
    while len(made) < rows:
        tries += 1
        if tries > 20 * rows + 1000:
            raise InputError(
                f"Only {len(made)} different instructions came of {tries} draws; {rows} were asked for.",
                remedy="Ask for fewer, or give more phrases.",
            )
        fold = rng.randrange(FOLDS)
        wording = wordings[rng.choices(languages, weights=shares)[0], fold]
        scenario = draw_scenario(rng)
        if len(scenario.task_types) > max_subtasks or not wording.speaks(scenario):
            continue
        text = planning_text(*wording.instruction(scenario))
        key = normalized(text)
        if key in seen or far.is_near(text):
            continue
        seen.add(key)
        made.append(
            PlanExample(
                id=f"{GROUP}-{seed}-{len(made)}",
                instruction=text,
                task_types=tuple(scenario.task_types),
                dependencies=tuple(scenario.dependencies),
                group=f"{GROUP}-{fold}",
                split="train",
            )
        )
    return made


def with_synthetic(
    examples: Sequence[PlanExample], *, rows: int, seed: int, tasks: TaskCatalog, max_subtasks: int
) -> list[PlanExample]:
    """Return `examples` and synthetic ones, none of them near a held-out example.

    A catalog that lacks one of the types the phrases are about gets none: the plans would not fit it.
    """
    from orchestai.training.scenarios import TYPES

    if not rows or not set(tasks.names) >= TYPES:
        return list(examples)
    held_out = [example.instruction for example in examples if example.split != "train"]
    return [*examples, *synthesize(rows=rows, seed=seed, avoid=held_out, max_subtasks=max_subtasks)]


def is_synthetic(example: PlanExample) -> bool:
    """Tell whether an example was made here."""
    return example.group.startswith(f"{GROUP}-")


class _Distance:
    """Finds the instructions that share most word pairs with a given one."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._sets = [_pairs(text) for text in texts]
        self._holders: dict[str, list[int]] = {}
        for index, pairs in enumerate(self._sets):
            for pair in pairs:
                self._holders.setdefault(pair, []).append(index)

    def is_near(self, text: str) -> bool:
        """Tell whether one of the known texts shares `_NEAR` of all word pairs (Jaccard)."""
        pairs = _pairs(text)
        common: dict[int, int] = {}
        for pair in pairs:
            for index in self._holders.get(pair, ()):
                common[index] = common.get(index, 0) + 1
        return any(count / (len(pairs) + len(self._sets[index]) - count) >= _NEAR for index, count in common.items())


def _pairs(text: str) -> frozenset[str]:
    words = ["", *normalized(text).split()]
    return frozenset(f"{first} {second}" for first, second in pairwise(words))
