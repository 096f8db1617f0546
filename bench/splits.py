"""Examples in three parts that share no instruction."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from orchestai.contracts import PlanExample, Split
from orchestai.errors import DataError
from orchestai.importers.splits import normalized, split_by_hash

NEAR = 0.8
"""Share of common words (Jaccard, numbers aside) from which two instructions count as one."""

_NAMES: tuple[Split, ...] = ("train", "validation", "test")
_WORD = re.compile(r"\w+")


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
    """Split by the hash of the id: 80 % train, 10 % validation, 10 % test, about the published shares."""
    return _split(examples, lambda example: example.id, train=80, validation=10)


def split_combinations(examples: Sequence[PlanExample]) -> Parts:
    """Split by multisets of task types, in the order of their hashes: 15 % are for the test, 10 % for validation.

    No combination of validation or test is ever trained on.

    Raises:
        DataError: A part is empty.
    """
    keys = [" ".join(sorted(example.task_types)) for example in examples]
    order = _by_hash(keys)
    test, validation = _share(order, 15), _share(order, 10)
    part: dict[str, Split] = dict.fromkeys(order[:test], "test")
    part |= dict.fromkeys(order[test : test + validation], "validation")
    found: dict[Split, list[PlanExample]] = {name: [] for name in _NAMES}
    for key, example in zip(keys, examples, strict=True):
        found[part.get(key, "train")].append(example)
    return _apart(found["train"], found["validation"], found["test"])


def held_out_tools(names: Sequence[str], percent: int = 10) -> frozenset[str]:
    """Return `percent` % of the names, at least one: those with the smallest hashes."""
    order = _by_hash(names)
    return frozenset(order[: _share(order, percent)])


def split_tools(examples: Sequence[PlanExample], held: frozenset[str]) -> Parts:
    """Test on every plan that needs a tool of `held`; of the others one in ten is for validation.

    Raises:
        DataError: A part is empty.
    """
    touched = [example for example in examples if held.intersection(example.task_types)]
    rest = [example for example in examples if not held.intersection(example.task_types)]
    train = [example for example in rest if split_by_hash(example.id, train=90, validation=10) == "train"]
    validation = [example for example in rest if split_by_hash(example.id, train=90, validation=10) == "validation"]
    return _apart(train, validation, touched)


def split_two(examples: Sequence[PlanExample], test: Sequence[PlanExample]) -> Parts:
    """Take one in ten of `examples` for validation, by the hash of the id, and all of `test` for the test."""
    parts = {example.id: split_by_hash(example.id, train=90, validation=10) for example in examples}
    train = [example for example in examples if parts[example.id] == "train"]
    validation = [example for example in examples if parts[example.id] == "validation"]
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


def near_duplicates(known: Sequence[str], texts: Sequence[str]) -> list[bool]:
    """Say of each text whether a known one is the same but for case, spacing, numbers and a few words.

    Texts of fewer than four words are compared whole.
    """
    if not known or not texts:
        return [False] * len(texts)
    same = {normalized(text) for text in known}
    places: dict[str, int] = {}
    theirs, ours = _bags(known, places), _bags(texts, places)
    width = len(places)
    left, right = (sparse.csr_matrix((m.data, m.indices, m.indptr), shape=(m.shape[0], width)) for m in (theirs, ours))
    common = (right @ left.T).tocoo()  # (texts, known) words in common
    sizes, known_sizes = np.asarray(right.sum(axis=1)).ravel(), np.asarray(left.sum(axis=1)).ravel()
    union = sizes[common.row] + known_sizes[common.col] - common.data
    near = (common.data >= NEAR * union) & (sizes[common.row] >= 4)
    found = set(common.row[near].tolist())
    return [place in found or normalized(text) in same for place, text in enumerate(texts)]


def _bags(texts: Sequence[str], places: dict[str, int]) -> sparse.csr_matrix:
    columns: list[int] = []
    starts = [0]
    for text in texts:
        words = {word for word in _WORD.findall(text.casefold()) if not word.isdigit()}
        columns.extend(sorted(places.setdefault(word, len(places)) for word in words))
        starts.append(len(columns))
    ones = np.ones(len(columns), dtype=np.float32)
    return sparse.csr_matrix((ones, columns, starts), shape=(len(texts), max(len(places), 1)))


def _by_hash(keys: Iterable[str]) -> list[str]:
    return sorted(set(keys), key=lambda key: hashlib.sha256(key.encode()).hexdigest())


def _share(keys: Sequence[str], percent: int) -> int:
    return max(1, len(keys) * percent // 100)


def _split(examples: Sequence[PlanExample], key: Callable[[PlanExample], str], *, train: int, validation: int) -> Parts:
    found: dict[Split, list[PlanExample]] = {name: [] for name in _NAMES}
    for example in examples:
        found[split_by_hash(key(example), train=train, validation=validation)].append(example)
    return _apart(found["train"], found["validation"], found["test"])


def _apart(train: list[PlanExample], validation: list[PlanExample], test: list[PlanExample]) -> Parts:
    """Drop from each part what an earlier one has, so that nothing is measured on what was learned."""
    seen: list[str] = []
    kept: list[list[PlanExample]] = []
    for part in (train, validation, test):
        # Within a part, duplicates may stay: they are part of the data.
        texts = [example.instruction for example in part]
        kept.append([e for e, near in zip(part, near_duplicates(seen, texts), strict=True) if not near])
        seen += texts
    for name, part in zip(_NAMES, kept, strict=True):
        if not part:
            raise DataError(
                f"The {name} part has no example.",
                remedy="Give more plans; the parts are drawn by the hash of the id.",
            )
    dropped = len(train) + len(validation) + len(test) - sum(map(len, kept))
    return Parts(train=kept[0], validation=kept[1], test=kept[2], dropped=dropped)
