"""What words say of a plan before any network runs: ridge over words, overlap with descriptions.

Ridge scores reach the network as features. Training rows get cross-fitted scores, made by a ridge that has
not seen the row or its group, so that the network learns how far to trust them on unseen instructions.
"""

from __future__ import annotations

import functools
import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from orchestai.contracts import Modality, TaskCatalog

FEATURES = 4
_BUCKETS = 8192
_FOLDS = 10
_PENALTIES = (0.1, 0.3, 1.0, 3.0)
_INPUT_OF = {Modality.VISION: "image", Modality.AUDIO: "audio"}
_MARK = re.compile(r"(?<=\[)[a-z]+[_0-9]*(?=\](?:\s*\[|\s*$))")
"""An attached input, as `planning_text` marks it at the end of the text."""
_WORD = re.compile(r"\w+", re.UNICODE)
_STOP = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "do",
        "for",
        "from",
        "i",
        "if",
        "in",
        "is",
        "it",
        "me",
        "my",
        "of",
        "on",
        "or",
        "our",
        "that",
        "the",
        "this",
        "to",
        "we",
        "with",
        "you",
        "your",
    ]
)

Array = npt.NDArray[np.float32]


class HintWeights(NamedTuple):
    """The fitted ridge: two linear maps onto the trained task types."""

    idf: Array  # (V,)
    words: Array  # (V, K)
    embedding: Array  # (H, K)
    mean: Array  # (K,)


def fit_hints(
    texts: Sequence[str], embeddings: Array, presence: Array, groups: Sequence[str]
) -> tuple[HintWeights, Array]:
    """Fit the ridge.

    Args:
        texts: N instructions.
        embeddings: [N, H] pooled.
        presence: [N, K], 1 where the plan has the type.
        groups: One a row; rows of a group never help each other.

    Returns:
        The weights, and cross-fitted scores [N, K] for the same rows.
    """
    counts = _bags(texts)  # (N, V)
    seen = np.asarray((counts > 0).sum(axis=0)).ravel()
    idf = np.where(seen > 0, np.log((1 + len(texts)) / (1 + seen)) + 1.0, 0.0).astype(np.float32)
    words = _weigh(counts, idf)
    kernel = (words @ words.T).toarray() + embeddings @ embeddings.T  # (N, N)
    mean = presence.mean(axis=0)
    centred = presence - mean
    folds = np.array([int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) % _FOLDS for group in groups])
    best, best_error = np.zeros_like(presence), np.inf
    penalty = _PENALTIES[-1]
    for candidate in _PENALTIES:
        scores = _cross_fit(kernel, centred, folds, candidate) + mean
        error = float(((scores - presence) ** 2).mean())
        if error < best_error:
            best, best_error, penalty = scores, error, candidate
    dual = np.linalg.solve(kernel + penalty * np.eye(len(texts)), centred)  # (N, K)
    weights = HintWeights(
        idf=idf,
        words=np.asarray(words.T @ dual, dtype=np.float32),
        embedding=np.asarray(embeddings.T @ dual, dtype=np.float32),
        mean=mean.astype(np.float32),
    )
    return weights, best.astype(np.float32)


def ridge_scores(weights: HintWeights, texts: Sequence[str], embeddings: Array) -> Array:
    """Scores [N, K] of unseen texts."""
    scores = embeddings @ weights.embedding + weights.mean
    for row, text in enumerate(texts):  # by hand: sparse matrices cost more to set up than one text has words
        columns = np.array(_buckets(text), dtype=np.int64)
        weighed = weights.idf[columns]
        norm = max(float(np.sqrt(weighed @ weighed)), 1e-9)
        scores[row] += (weighed / norm) @ weights.words[columns]
    return np.asarray(scores, dtype=np.float32)


class CatalogHints:
    """What a catalog alone says of an instruction; needs no training, so it serves new types as well.

    Three features a type: how much of its description and keywords the text repeats, whether a keyword
    occurs as it stands, and whether the input that its modality needs is attached (1), missing while
    others are attached (-1), or neither (0).

    Args:
        catalog: The types to compare with.
    """

    def __init__(self, catalog: TaskCatalog) -> None:
        described = [
            set(stems(f"{kind.name.replace('_', ' ')} {kind.description} {' '.join(kind.keywords)}"))
            for kind in catalog.types
        ]
        seen = Counter(stem for stems_ in described for stem in stems_)
        self._weight = {stem: float(np.log((1 + len(described)) / (0.5 + n))) for stem, n in seen.items()}
        self._owners: dict[str, list[int]] = {}  # of each stem, the types that it describes
        for index, stems_ in enumerate(described):
            for stem in stems_:
                self._owners.setdefault(stem, []).append(index)
        self._size = len(catalog)
        self._keywords = [
            (column, tuple(word.casefold() for word in kind.keywords))
            for column, kind in enumerate(catalog.types)
            if kind.keywords
        ]
        self._inputs = [_INPUT_OF.get(kind.modality) for kind in catalog.types]

    def __call__(self, texts: Sequence[str]) -> Array:
        """Return [N, K, 3]."""
        out = np.zeros((len(texts), self._size, FEATURES - 1), dtype=np.float32)
        for row, text in enumerate(texts):
            overlap = [0.0] * self._size
            for stem in self._owners.keys() & stems(text):
                weight = self._weight[stem]
                for owner in self._owners[stem]:
                    overlap[owner] += weight
            out[row, :, 0] = overlap
            folded = text.casefold()
            for column, keywords in self._keywords:
                out[row, column, 1] = float(any(keyword in folded for keyword in keywords))
            marks = _MARK.findall(text)
            if marks:
                out[row, :, 2] = [
                    0.0 if needed is None else 1.0 if any(m.startswith(needed) for m in marks) else -1.0
                    for needed in self._inputs
                ]
        out[..., 0] /= 3.0 + out[..., 0]
        return out


def stems(text: str) -> list[str]:
    """Content words, cut to six letters: enough to match 'translation' with 'translate'."""
    return [word[:6] for word in _WORD.findall(text.casefold()) if word not in _STOP]


def _bags(texts: Sequence[str]) -> sparse.csr_matrix:
    columns: list[int] = []
    starts = [0]
    for text in texts:
        columns.extend(_buckets(text))
        starts.append(len(columns))
    ones = np.ones(len(columns), dtype=np.float32)
    return sparse.csr_matrix((ones, columns, starts), shape=(len(texts), _BUCKETS))


def _buckets(text: str) -> list[int]:
    """Columns of the text's words, pairs of words, pieces of words, and marks."""
    words = _WORD.findall(text.casefold())
    buckets = {_bucket(f"{a} {b}") for a, b in pairwise(words)}
    buckets.update(*map(_of_word, set(words)), [_bucket(f"[{mark}]") for mark in _MARK.findall(text)])
    return sorted(buckets)


@functools.lru_cache(maxsize=8192)
def _of_word(word: str) -> tuple[int, ...]:
    """Columns of a word and of its pieces; most words of an instruction were seen in others."""
    padded = f"<{word}>"
    return (_bucket(word), *(_bucket(f"#{padded[i : i + 4]}") for i in range(len(padded) - 3)))


def _bucket(token: str) -> int:
    return zlib.crc32(token.encode()) % _BUCKETS


def _weigh(counts: sparse.csr_matrix, idf: Array) -> sparse.csr_matrix:
    weighted = counts @ sparse.diags(idf)
    norms = np.sqrt(np.asarray(weighted.power(2).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1.0 / np.maximum(norms, 1e-9)) @ weighted, dtype=np.float32)


def _cross_fit(kernel: Array, centred: Array, folds: npt.NDArray[np.int64], penalty: float) -> Array:
    scores = np.zeros_like(centred)
    for fold in np.unique(folds):
        held = folds == fold
        rest = ~held
        if not rest.any():
            continue
        dual = np.linalg.solve(kernel[np.ix_(rest, rest)] + penalty * np.eye(int(rest.sum())), centred[rest])
        scores[held] = kernel[np.ix_(held, rest)] @ dual
    return scores
