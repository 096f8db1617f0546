"""Trains the tables of the injection score: hashed n-grams and, for the full score, a sentence embedding.

The data are split by the hash of groups of texts that share phrases. What is in the training part is learned in
five folds to choose thresholds on texts that the fold has not seen, then as a whole. The tables hold no text.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize

from bench.reflex_data import Collection, Sample, digest_of, own_lines, share_of
from orchestai.reflex.features import SIZE
from orchestai.reflex.injection_score import SCALES, embedded_part, load_sentence_encoder, ngram_values, segments_of

TEST_SHARE = 0.25
FOLDS = 5
EMBEDDING_WEIGHT = 0.7
PASTED = 200
MAX_PASTED_CHARS = 2_000
FIT_WEIGHT = 10.0

Floats = npt.NDArray[np.float64]


class Example(NamedTuple):
    """A text to learn from.

    Attributes:
        text: The text.
        label: 1 for an attack.
        kind: `attack`, `tricky`, `ordinary` or `pasted`.
        group: Texts of one group never stand on both sides of a split.
    """

    text: str
    label: int
    kind: str
    group: str


class Fitted(NamedTuple):
    """Weights of one table, and how to scale its sums."""

    weights: Floats
    scale: tuple[float, float]


def is_test(group: str) -> bool:
    """Say whether a group is kept back for the report."""
    return share_of(group) < TEST_SHARE


def train(
    data: Collection, out: Path, *, plain: Sequence[str], sentences: Sequence[str] = (), seed: int = 0
) -> dict[str, Any]:
    """Train on what is not kept back, write the tables and return what was seen on the way.

    Args:
        data: Attacks, harmless texts and contexts.
        out: File to write.
        plain: Further everyday instructions, all harmless.
        sentences: Further ordinary material.
        seed: Of the mixtures.
    """
    from safetensors.numpy import save_file

    examples = text_examples(data, plain)
    learned = [each for each in examples if not is_test(each.group)]
    encoder = load_sentence_encoder()
    encode = _remembering(encoder.encode)
    text = _fit_text(learned, None, seed)
    full = _fit_text(learned, encode, seed)
    orders, contexts = _materials(data, sentences)
    material = _fit_material(orders, contexts, None)
    full_material = _fit_material(orders, contexts, encode)
    seen_material = {digest_of(text) for text in [*orders, *contexts]}
    tables: dict[str, npt.NDArray[Any]] = {
        "text": text.weights[:SIZE].astype(np.float16),
        "full_text": full.weights[:SIZE].astype(np.float16),
        "full_embedding": (full.weights[SIZE:-1] * EMBEDDING_WEIGHT).astype(np.float32),
        "material": material.weights[:SIZE].astype(np.float16),
        "full_material": full_material.weights[:SIZE].astype(np.float16),
        "full_material_embedding": (full_material.weights[SIZE:-1] * EMBEDDING_WEIGHT).astype(np.float32),
        "seen": np.array(sorted({digest_of(each.text) for each in learned} | seen_material), dtype=np.int64),
    }
    for name, fitted in zip(SCALES, (text, full, material, full_material), strict=True):
        # The constant term moves into the offset.
        slope, offset = fitted.scale
        tables[f"scale_{name}"] = np.array([slope, offset - fitted.weights[-1]], dtype=np.float32)
    out.parent.mkdir(parents=True, exist_ok=True)
    facts = {"examples": str(len(learned)), "positive": str(sum(each.label for each in learned)), "seed": str(seed)}
    save_file(tables, out, metadata=facts)
    out.chmod(0o644)
    return {"folder": data.counts(), **facts}


def text_examples(data: Collection, plain: Sequence[str]) -> list[Example]:
    """Return all texts that a user could write, grouped by what they share."""
    samples = [(each, 1, "attack") for each in data.attacks]
    samples += [(each, 0, "ordinary") for each in data.ordinary]
    samples += [(each, 0, "tricky") for each in data.tricky]
    samples += [(Sample(line, "own"), 1, "attack") for line in own_lines("attacks.txt")]
    samples += [(Sample(line, "own"), 0, "tricky") for line in own_lines("benign.txt")]
    samples += [(Sample(line, "own"), 0, "ordinary") for line in [*plain, *own_lines("documents.txt")]]
    # People paste mails and pages into what they write.
    pasted = sorted({each.text for each in data.contexts if not is_test(each.text)}, key=share_of)[:PASTED]
    samples += [(Sample(text[:MAX_PASTED_CHARS], "pasted"), 0, "pasted") for text in pasted]
    groups = groups_of([sample.text for sample, _, _ in samples])
    return [
        Example(sample.text, label, kind, group) for (sample, label, kind), group in zip(samples, groups, strict=True)
    ]


def groups_of(texts: Sequence[str]) -> list[str]:
    """Name for each text the first one that it shares a phrase with, directly or through others."""
    parents = list(range(len(texts)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    first: dict[tuple[str, ...], int] = {}
    for index, text in enumerate(texts):
        words = text.lower().split()
        size = 5 if len(words) < 60 else 12
        for start in range(max(1, len(words) - size + 1)):
            other = first.setdefault(tuple(words[start : start + size]), index)
            low, high = sorted((root(index), root(other)))
            parents[high] = low
    return [texts[root(index)] for index in range(len(texts))]


Encode = Callable[[list[str]], npt.NDArray[np.float32]]


def _remembering(encode: Callable[[Sequence[str]], npt.NDArray[np.float32]]) -> Encode:
    known: dict[str, npt.NDArray[np.float32]] = {}

    def encoded(texts: list[str]) -> npt.NDArray[np.float32]:
        parts = [embedded_part(text) for text in texts]
        new = [part for part in dict.fromkeys(parts) if part not in known]
        if new:
            known.update(zip(new, encode(new), strict=True))
        return np.stack([known[part] for part in parts])

    return encoded


def _matrix(texts: list[str], encode: Encode | None) -> Any:
    rows = [ngram_values(text) for text in texts]
    counts = [len(indices) for indices, _ in rows]
    values = np.concatenate([np.full(len(indices), value) for indices, value in rows])
    indices = np.concatenate([indices for indices, _ in rows])
    starts = np.concatenate([[0], np.cumsum(counts)])
    matrix = sparse.csr_matrix((values, indices, starts), shape=(len(texts), SIZE))
    if encode is None:
        return matrix
    return sparse.hstack([matrix, sparse.csr_matrix(encode(texts) * EMBEDDING_WEIGHT)]).tocsr()


def _fit(matrix: Any, labels: Floats) -> Floats:
    """Logistic regression with classes of equal weight; the last number is the constant term."""
    size = matrix.shape[1]
    balance = np.where(labels > 0, (labels == 0).sum() / max(1, (labels > 0).sum()), 1.0)
    signs = np.where(labels > 0, 1.0, -1.0)

    def loss(point: Floats) -> tuple[float, Floats]:
        margins = signs * (matrix @ point[:size] + point[size])
        slopes = -signs * balance * FIT_WEIGHT / (1 + np.exp(np.clip(margins, -500, 500)))
        value = FIT_WEIGHT * float((balance * np.logaddexp(0, -margins)).sum()) + 0.5 * float(
            point[:size] @ point[:size]
        )
        return value, np.append(matrix.T @ slopes + point[:size], slopes.sum())

    result = minimize(loss, np.zeros(size + 1), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return np.asarray(result.x, dtype=np.float64)


def _fit_text(examples: list[Example], encode: Encode | None, seed: int) -> Fitted:
    held = np.zeros(len(examples))
    for fold in range(FOLDS):
        inside = [int(share_of(f"fold {each.group}") * FOLDS) != fold for each in examples]
        weights = _fit_examples([each for each, kept in zip(examples, inside, strict=True) if kept], encode, seed)
        outside = [index for index, kept in enumerate(inside) if not kept]
        scored = _matrix([examples[index].text for index in outside], encode) @ weights[:-1] + weights[-1]
        held[outside] = scored
    kinds = np.array([each.kind for each in examples])
    harmless = [held[kinds == kind] for kind in ("tricky", "ordinary", "pasted") if (kinds == kind).any()]
    scale = _scale_of(held[kinds == "attack"], harmless)
    return Fitted(_fit_examples(examples, encode, seed), scale)


def _fit_examples(examples: list[Example], encode: Encode | None, seed: int) -> Floats:
    mixed = [*examples, *_mixtures(examples, seed)]
    return _fit(_matrix([each.text for each in mixed], encode), np.array([each.label for each in mixed], dtype=float))


def _mixtures(examples: list[Example], seed: int) -> list[Example]:
    """Hide attacks among harmless sentences, and put harmless ones together as a counterweight."""
    chance = random.Random(seed)
    attacks = [each.text for each in examples if each.label and len(each.text) < 400]
    harmless = [each.text for each in examples if not each.label and len(each.text) < 400]
    harmless += [part for each in examples if each.kind == "pasted" for part in segments_of(each.text)[:6]]
    mixtures = []
    for index in range(len(examples) // 3):
        longest = 16 if index % 4 == 0 else 4  # a page now and then, or length alone would tell them apart
        before = chance.sample(harmless, chance.randint(1, longest - 1))
        after = chance.sample(harmless, chance.randint(0, longest - 2))
        mixtures.append(Example(" ".join([*before, chance.choice(attacks), *after]), 1, "attack", ""))
        mixtures.append(Example(" ".join(chance.sample(harmless, chance.randint(2, 2 * longest))), 0, "ordinary", ""))
    return mixtures


def _scale_of(attacks: Floats, harmless: list[Floats]) -> tuple[float, float]:
    """Return slope and offset that put the best threshold at one half.

    The best one makes the lowest of recall and the pass rates of each kind of harmless text as high as possible.
    """
    points = np.unique(np.concatenate([attacks, *harmless]))
    middles = (points[1:] + points[:-1]) / 2
    worst = np.min(
        [[(attacks >= point).mean(), *((each < point).mean() for each in harmless)] for point in middles], axis=1
    )
    best = np.flatnonzero(worst >= worst.max() - 1e-9)
    offset = float(middles[best[len(best) // 2]])
    return 4.0 / float(np.std(np.concatenate([attacks, *harmless]))), offset


def _materials(data: Collection, sentences: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the orders and the ordinary material that are not kept back."""
    orders = [each.text for each in data.embedded] + own_lines("embedded.txt") + own_lines("attacks.txt")
    contexts = [each.text for each in data.contexts] + own_lines("documents.txt") + list(sentences)
    return [text for text in orders if not is_test(text)], [text for text in contexts if not is_test(text)]


def _fit_material(orders: list[str], contexts: list[str], encode: Encode | None) -> Fitted:
    """Learn to tell orders from the sentences of ordinary material, one segment at a time."""
    first = [segments_of(text)[0] for text in orders]
    held_orders: list[float] = []
    held_contexts: list[float] = []
    for fold in range(FOLDS):
        inside = [[int(share_of(f"fold {text}") * FOLDS) != fold for text in texts] for texts in (orders, contexts)]
        weights = _fit_segments(
            [text for text, kept in zip(first, inside[0], strict=True) if kept],
            [text for text, kept in zip(contexts, inside[1], strict=True) if kept],
            encode,
        )
        held_orders += _highest(weights, [t for t, kept in zip(orders, inside[0], strict=True) if not kept], encode)
        held_contexts += _highest(weights, [t for t, kept in zip(contexts, inside[1], strict=True) if not kept], encode)
    scale = _scale_of(np.array(held_orders), [np.array(held_contexts)])
    return Fitted(_fit_segments(first, contexts, encode), scale)


def _fit_segments(orders: list[str], contexts: list[str], encode: Encode | None) -> Floats:
    plain = list(dict.fromkeys(segment for text in contexts for segment in segments_of(text)))
    labels = np.array([1.0] * len(orders) + [0.0] * len(plain))
    return _fit(_matrix([*orders, *plain], encode), labels)


def _highest(weights: Floats, texts: list[str], encode: Encode | None) -> list[float]:
    """Return for each text the score of its most suspicious segment."""
    segments = [segments_of(text) for text in texts]
    scores = _matrix([each for parts in segments for each in parts], encode) @ weights[:-1] + weights[-1]
    starts = np.cumsum([0, *map(len, segments[:-1])])
    return [float(score) for score in np.maximum.reduceat(scores, starts)]


def read_plain(path: Path) -> list[str]:
    """Return the instructions of the starter corpus."""
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line)["instruction"] for line in stream if line.strip()]
