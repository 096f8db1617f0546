"""Trains the tagger of personal data that has no form, and measures what is found, by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import logsumexp

from bench.reflex_data import Sentence, digest_of, share_of
from orchestai.reflex.pii import ALL_KINDS, FORMED, PiiFinder, marks_of, without_overlaps
from orchestai.reflex.pii_patterns import FormedPii
from orchestai.reflex.tagger import SIZE, Token, token_features, tokenize

NAMES = {
    "EMAIL_ADDRESS": "EMAIL",
    "PHONE_NUMBER": "PHONE",
    "IBAN_CODE": "IBAN",
    "US_SSN": "SSN",
    "DOMAIN_NAME": "URL",
    "GPE": "LOCATION",
    "LOC": "LOCATION",
    "ORG": "ORGANIZATION",
    "NRP": "NATIONALITY",
    "US_DRIVER_LICENSE": "DRIVER_LICENSE",
}
"""Our kind for a name of the data set; other names are equal."""

TEST_SHARE = 0.25
_FIT_WEIGHT = 1.0

Floats = npt.NDArray[np.float64]


def is_test(sentence: Sentence, *, by_template: bool = False) -> bool:
    """Say whether a sentence is kept back for the report."""
    return share_of(f"pii {sentence.group if by_template else sentence.text}") < TEST_SHARE


def train_tagger(sentences: Sequence[Sentence], out: Path) -> None:
    """Train on `sentences` and write the tables."""
    from safetensors.numpy import save_file

    formed = FormedPii()
    tagged = [_tagged(sentence, formed) for sentence in sentences]
    tagged = [each for each in tagged if each[0]]
    labels = ["O", *sorted({label for _, _, names in tagged for label in names} - {"O"})]
    index = {label: position for position, label in enumerate(labels)}
    rows = np.concatenate([token_features(tokens, marks) for tokens, marks, _ in tagged])
    wanted = np.array([index[label] for _, _, names in tagged for label in names])
    weights = _fit(rows, wanted, len(labels))
    tables: dict[str, npt.NDArray[Any]] = {
        "weights": weights.astype(np.float16),
        "transitions": _transitions([[index[label] for label in names] for _, _, names in tagged], len(labels)),
        "seen": np.array(sorted({digest_of(sentence.text) for sentence in sentences}), dtype=np.int64),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tables, out, metadata={"labels": " ".join(labels), "sentences": str(len(sentences))})
    out.chmod(0o644)


def seen_by(path: Path) -> frozenset[int]:
    """Return the digests of the sentences that the tables in `path` were trained on."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return frozenset(file.get_tensor("seen").tolist())


def span_f1(sentences: Iterable[Sentence], finder: PiiFinder) -> dict[str, dict[str, float]]:
    """Return precision, recall and F1 of exact spans by kind, and `micro` over all."""
    right: Counter[str] = Counter()
    found: Counter[str] = Counter()
    marked: Counter[str] = Counter()
    for sentence in sentences:
        gold = {(_kind(span.kind), span.start, span.end) for span in sentence.spans if _kind(span.kind) in ALL_KINDS}
        got = {(str(each.kind), each.start, each.end) for each in finder.find(sentence.text)}
        for counter, spans in ((right, gold & got), (found, got), (marked, gold)):
            counter.update(kind for kind, _, _ in spans)
            counter["micro"] += len(spans)
    return {
        kind: {
            "f1": 2 * right[kind] / max(1, found[kind] + marked[kind]),
            "precision": right[kind] / found[kind] if found[kind] else 0.0,
            "recall": right[kind] / marked[kind],
            "count": marked[kind],
        }
        for kind in sorted(marked)
        if marked[kind]
    }


def _kind(name: str) -> str:
    return NAMES.get(name, name)


def _tagged(sentence: Sentence, formed: FormedPii) -> tuple[list[Token], list[str], list[str]]:
    tokens = tokenize(sentence.text)
    pieces = without_overlaps(formed.find(sentence.text))
    marks = marks_of([(token.start, token.end) for token in tokens], pieces)
    labels = []
    begun: set[tuple[str, int]] = set()
    for token in tokens:
        span = next((each for each in sentence.spans if each.start <= token.start < each.end), None)
        kind = _kind(span.kind) if span is not None else ""
        if span is None or kind in FORMED or kind not in ALL_KINDS:
            labels.append("O")
        else:
            labels.append(f"{'I' if (kind, span.start) in begun else 'B'}-{kind}")
            begun.add((kind, span.start))
    return tokens, marks, labels


def _fit(rows: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64], labels: int) -> Floats:
    """Multinomial logistic regression."""
    count, width = rows.shape
    matrix = sparse.csr_matrix(
        (np.ones(rows.size, np.float32), rows.ravel(), np.arange(0, rows.size + 1, width)), shape=(count, SIZE)
    )
    matrix.sum_duplicates()
    flipped = matrix.T.tocsr()
    places = np.arange(count)

    def loss(point: Floats) -> tuple[float, Floats]:
        weights = point.reshape(SIZE, labels).astype(np.float32)
        scores = matrix @ weights  # (T, L)
        total = logsumexp(scores, axis=1)
        slopes = np.exp(scores - total[:, None])
        slopes[places, wanted] -= 1.0
        value = _FIT_WEIGHT * float((total - scores[places, wanted]).sum(dtype=np.float64))
        gradient = _FIT_WEIGHT * (flipped @ slopes) + weights
        return value + 0.5 * float((weights * weights).sum(dtype=np.float64)), gradient.ravel().astype(np.float64)

    options: Any = {"maxiter": 80, "maxcor": 5}
    result = minimize(loss, np.zeros(SIZE * labels), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(result.x, dtype=np.float64).reshape(SIZE, labels)


def _transitions(sequences: Iterable[list[int]], labels: int) -> npt.NDArray[np.float32]:
    """Return half the pointwise mutual information of neighbours: the tokens' own scores say the rest."""
    pairs = np.ones((labels, labels))
    for sequence in sequences:
        for before, after in pairwise(sequence):
            pairs[before, after] += 1
    expected = pairs.sum(axis=1, keepdims=True) * pairs.sum(axis=0, keepdims=True) / pairs.sum()
    return np.asarray(0.5 * np.log(pairs / expected), dtype=np.float32)
