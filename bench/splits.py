"""Examples in three parts that share no instruction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from orchestai.contracts import PlanExample, Split
from orchestai.errors import DataError
from orchestai.importers.splits import normalized, split_by_hash

_NAMES: tuple[Split, ...] = ("train", "validation", "test")


class Parts(NamedTuple):
    """Training, validation and test examples."""

    train: list[PlanExample]
    validation: list[PlanExample]
    test: list[PlanExample]
    dropped: int

    def counts(self) -> dict[str, int]:
        """How many examples each part has, and how many were dropped as duplicates."""
        return {
            "train": len(self.train),
            "validation": len(self.validation),
            "test": len(self.test),
            "dropped_duplicates": self.dropped,
        }


def split_one(examples: Sequence[PlanExample]) -> Parts:
    """Split by the hash of the id: 60 % train, 20 % validation, 20 % test."""
    found: dict[Split, list[PlanExample]] = {name: [] for name in _NAMES}
    for example in examples:
        found[split_by_hash(example.id)].append(example)
    return _apart(found["train"], found["validation"], found["test"])


def split_two(examples: Sequence[PlanExample], test: Sequence[PlanExample]) -> Parts:
    """Take one in four of `examples` for validation, by the hash of the id, and all of `test` for the test.

    What the hash would call test is training data here: the test comes from elsewhere.
    """
    validation = [example for example in examples if split_by_hash(example.id) == "validation"]
    train = [example for example in examples if split_by_hash(example.id) != "validation"]
    return _apart(train, validation, list(test))


def split_given(examples: Sequence[PlanExample]) -> Parts:
    """Split as the examples themselves say.

    Raises:
        DataError: One of them does not say.
    """
    undecided = next((example.id for example in examples if example.split is None), None)
    if undecided is not None:
        raise DataError(f"The example {undecided!r} belongs to no split.")
    train, validation, test = ([e for e in examples if e.split == name] for name in _NAMES)
    return _apart(train, validation, test)


def unseen(train: Iterable[PlanExample], test: Sequence[PlanExample]) -> list[int]:
    """Return the places in `test` whose multiset of task types no training plan has."""
    known = {frozenset(Counter(example.task_types).items()) for example in train}
    return [i for i, e in enumerate(test) if frozenset(Counter(e.task_types).items()) not in known]


def _apart(train: list[PlanExample], validation: list[PlanExample], test: list[PlanExample]) -> Parts:
    """Drop from each part what an earlier one has, so that nothing is measured on what was learned."""
    seen: set[str] = set()
    kept: list[list[PlanExample]] = []
    for part in (train, validation, test):
        # Within a part, duplicates may stay: they are part of the data.
        fresh = [example for example in part if normalized(example.instruction) not in seen]
        seen.update(normalized(example.instruction) for example in part)
        kept.append(fresh)
    for name, part in zip(_NAMES, kept, strict=True):
        if not part:
            raise DataError(
                f"The {name} part has no example.",
                remedy="Give more plans; the parts are drawn by the hash of the id.",
            )
    dropped = len(train) + len(validation) + len(test) - sum(map(len, kept))
    return Parts(train=kept[0], validation=kept[1], test=kept[2], dropped=dropped)
