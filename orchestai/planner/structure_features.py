"""What can be seen of two steps side by side: places, shared words, similarity; the input of StepStructure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
# fmt: off
_EMPTY_WORDS = frozenset((
    "a", "an", "the", "to", "of", "in", "on", "for", "with", "and", "or", "at", "by", "from", "into", "your",
    "you", "it", "its", "is", "are", "be", "as", "that", "this", "their", "them", "up", "out", "if", "so",
    "all", "any", "some", "about", "over", "until", "after", "before", "while", "then", "once", "using",
    "use", "each", "other", "more", "not", "do",
))
# fmt: on
_CUES = ("the", "it", "them", "finally", "first", "also", "or", "another", "other", "again", "back", "your")
_ENDINGS = ("ing", "ies", "es", "ed", "s")


class StepFeatures(NamedTuple):
    """Numbers of one plan of n steps."""

    nodes: Floats  # (n, node features)
    pairs: Floats  # (n, n, pair features) [parent][child]


NODE_FEATURES = 11 + len(_CUES)
PAIR_FEATURES = 11 + 21 + 2 * NODE_FEATURES


def step_features(goal: str, steps: Sequence[str], goal_embedding: Floats, embeddings: Floats) -> StepFeatures:
    """Compute the features of all steps and of all ordered pairs of steps.

    Args:
        goal: What the steps are for.
        steps: n texts.
        goal_embedding: [H], L2-normalised.
        embeddings: [n, H], L2-normalised.
    """
    size = len(steps)
    words = [[word.casefold() for word in _WORD.findall(step)] for step in steps]
    stems = [_stems(found) for found in words]
    goal_stems = _stems([word.casefold() for word in _WORD.findall(goal)])
    alike = np.asarray(embeddings @ embeddings.T, dtype=np.float32)  # (n, n)
    to_goal = np.asarray(embeddings @ goal_embedding, dtype=np.float32)  # (n,)
    nodes = np.array(
        [_node(i, words, stems, goal_stems, alike, to_goal) for i in range(size)], dtype=np.float32
    )  # (n, node features)
    whole = _whole(steps, words, stems, alike, to_goal)
    frequency = Counter(stem for found in stems for stem in found)
    pairs = np.array(
        [
            [
                [*whole, *_pair(i, j, words, stems, goal_stems, alike, frequency), *nodes[i], *nodes[j]]
                for j in range(size)
            ]
            for i in range(size)
        ],
        dtype=np.float32,
    )
    return StepFeatures(nodes=nodes, pairs=pairs)


def _whole(
    steps: Sequence[str], words: list[list[str]], stems: list[set[str]], alike: Floats, to_goal: Floats
) -> list[float]:
    """The style of the plan: lists of alternatives look different from recipes."""
    size = len(steps)
    others = alike[~np.eye(size, dtype=np.bool_)]
    neighbours = range(size - 1)
    openers = [found[0] if found else "" for found in words]
    return [
        size,
        float(others.mean()) if size > 1 else 0.0,
        float(others.std()) if size > 1 else 0.0,
        _mean([step.endswith(".") for step in steps]),
        _mean([step[:1].isupper() for step in steps]),
        _mean([len(found) for found in words]),
        float(to_goal.mean()),
        len(set(openers)) / size,
        float(any("or" in found for found in words)),
        _mean([bool(stems[i] & stems[i + 1]) for i in neighbours]),
        _mean([float(alike[i, i + 1]) for i in neighbours]),
    ]


def _node(
    i: int, words: list[list[str]], stems: list[set[str]], goal: set[str], alike: Floats, to_goal: Floats
) -> list[float]:
    size = len(words)
    before: set[str] = set().union(*stems[:i])
    after: set[str] = set().union(*stems[i + 1 :])
    others = np.delete(alike[i], i)
    return [
        i / max(1, size - 1),
        i,
        size - 1 - i,
        len(words[i]),
        float(to_goal[i]),
        float(others.mean()) if size > 1 else 0.0,
        float(others.max()) if size > 1 else 0.0,
        len(stems[i] & before),
        len(stems[i] & after),
        len(stems[i] & goal),
        len(stems[i] - before),
        *(float(cue in words[i]) for cue in _CUES),
    ]


def _pair(
    i: int,
    j: int,
    words: list[list[str]],
    stems: list[set[str]],
    goal: set[str],
    alike: Floats,
    frequency: Counter[str],
) -> list[float]:
    size = len(words)
    low, high = min(i, j), max(i, j)
    inside = range(low + 1, high)
    between: set[str] = set().union(*(stems[k] for k in inside))
    shared = stems[i] & stems[j]
    # A step needs what the last step before it left behind with the same word.
    passed_on = sum(not any(stem in stems[k] for k in range(i + 1, j)) for stem in shared) if i < j else 0
    introduced = sum(not any(stem in stems[k] for k in range(i)) for stem in shared)
    rest = [k for k in range(size) if k not in (i, j)]
    return [
        j - i,
        abs(j - i),
        float(j == i + 1),
        float(low == 0),
        float(high == size - 1),
        float(alike[i, j]),
        sum(bool(alike[i, k] > alike[i, j]) for k in rest) / size,
        sum(bool(alike[k, j] > alike[i, j]) for k in rest) / size,
        len(shared),
        len(shared) / max(1, len(stems[i] | stems[j])),
        len(shared - between),
        len(shared - goal),
        passed_on,
        introduced,
        sum(1.0 / frequency[stem] for stem in shared),
        float(words[i][:1] == words[j][:1]),
        float(words[i][-1:] == words[j][-1:]),
        _mean([float(alike[i, k]) for k in inside]),
        _mean([float(alike[j, k]) for k in inside]),
        _mean([abs(float(alike[i, k] - alike[j, k])) for k in rest]),
        float(i < j),
    ]


def _stems(words: Sequence[str]) -> set[str]:
    return {_stem(word) for word in words if len(word) > 2 and word not in _EMPTY_WORDS}


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
