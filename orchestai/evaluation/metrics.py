"""Numbers for planned graphs. A prediction of None is an unanswered sample, and counts as wrong everywhere.

`node_f1` and `link_f1` follow GNN4TaskPlan (NeurIPS 2024), F1 a sample and then the mean over samples, with
one deviation: names count as often as they occur. The published script compares sets but divides by the
lengths of the lists, so that even the right answer scores below 1 where a plan uses a tool twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from orchestai.contracts import MAX_SUBTASKS, PlanExample, PlanPrediction
from orchestai.errors import InputError
from orchestai.evaluation.alignment import align, same_graph

ECE_BINS = 15

Golds = Sequence[PlanExample]
Predictions = Sequence[PlanPrediction | None]
Floats = npt.NDArray[np.float64]
Scorer = Callable[[PlanExample, PlanPrediction], float]


def multiset_f1(predicted: Iterable[Hashable], gold: Iterable[Hashable]) -> float:
    """F1 of two multisets; two empty ones agree (1), an empty and a filled one do not (0)."""
    have, want = Counter(predicted), Counter(gold)
    total = have.total() + want.total()
    return 2.0 * (have & want).total() / total if total else 1.0


def typed_links(plan: PlanExample | PlanPrediction) -> list[tuple[str, str]]:
    """Return the edges as pairs (type of the parent, type of the child)."""
    return [(plan.task_types[p], plan.task_types[c]) for p, c in edges(plan)]


def edges(plan: PlanExample | PlanPrediction) -> list[tuple[int, int]]:
    """Return the edges as pairs (parent, child) of positions."""
    return [(parent, child) for child, parents in enumerate(plan.dependencies) for parent in parents]


def node_f1_scores(golds: Golds, predictions: Predictions) -> Floats:
    """F1 of the multisets of task types, a sample."""
    return _each(golds, predictions, lambda g, p: multiset_f1(p.task_types, g.task_types))


def link_f1_scores(golds: Golds, predictions: Predictions) -> Floats:
    """F1 of the multisets of (source type, target type), a sample.

    A sample whose gold plan has no link counts 1 if the prediction has none either, and 0 otherwise: finding
    out that nothing waits for anything is a part of planning.
    """
    return _each(golds, predictions, lambda g, p: multiset_f1(typed_links(p), typed_links(g)))


def edge_f1_scores(golds: Golds, predictions: Predictions) -> Floats:
    """F1 of the edges between positions, after aligning the nodes, a sample.

    Nodes are aligned one to one with equal types, such that the most edges agree; an edge at a node without
    partner is wrong. Samples without edges count as in `link_f1_scores`.
    """

    def score(gold: PlanExample, predicted: PlanPrediction) -> float:
        partner = align(gold.task_types, edges(gold), predicted.task_types, edges(predicted))
        moved = [(partner.get(p, -1 - p), partner.get(c, -1 - c)) for p, c in edges(predicted)]
        return multiset_f1(moved, edges(gold))

    return _each(golds, predictions, score)


def exact_scores(golds: Golds, predictions: Predictions) -> Floats:
    """1 where the plan is the gold plan, a sample.

    Two plans are the same if some renumbering of the nodes keeps every task type and maps the edges of one
    exactly onto those of the other (isomorphism of graphs with typed nodes). The order in which independent
    sub-tasks are written down does not matter; a missing, an extra or a transitive edge does.
    """
    return _each(
        golds,
        predictions,
        lambda g, p: float(same_graph(g.task_types, edges(g), p.task_types, edges(p))),
    )


def decomposition_scores(golds: Golds, predictions: Predictions) -> Floats:
    """1 where the instruction was cut into exactly the right multiset of task types, a sample."""
    return _each(golds, predictions, lambda g, p: float(Counter(g.task_types) == Counter(p.task_types)))


def validity_scores(predictions: Predictions, known: frozenset[str] | None = None) -> Floats:
    """1 where the plan could be run: 1 to 20 nodes of known types, edges between them, no cycle."""
    return np.array([float(p is not None and is_valid(p, known)) for p in predictions], dtype=np.float64)


def is_valid(plan: PlanPrediction, known: frozenset[str] | None = None) -> bool:
    """Say whether `plan` could be run with the task types `known`."""
    size = len(plan.task_types)
    if not 1 <= size <= MAX_SUBTASKS or len(plan.dependencies) != size:
        return False
    if known is not None and not known.issuperset(plan.task_types):
        return False
    if any(len(set(ps)) != len(ps) or not all(0 <= p < size for p in ps) for ps in plan.dependencies):
        return False
    done: set[int] = set()
    for _ in range(size):
        done |= {node for node in range(size) if done.issuperset(plan.dependencies[node])}
    return len(done) == size


def node_f1(golds: Golds, predictions: Predictions) -> float:
    """Mean of `node_f1_scores`."""
    return _mean(node_f1_scores(golds, predictions))


def link_f1(golds: Golds, predictions: Predictions) -> float:
    """Mean of `link_f1_scores`."""
    return _mean(link_f1_scores(golds, predictions))


def edge_f1(golds: Golds, predictions: Predictions) -> float:
    """Mean of `edge_f1_scores`."""
    return _mean(edge_f1_scores(golds, predictions))


def exact(golds: Golds, predictions: Predictions) -> float:
    """Share of plans that are the gold plan."""
    return _mean(exact_scores(golds, predictions))


def decomposition_accuracy(golds: Golds, predictions: Predictions) -> float:
    """Share of instructions that were cut into exactly the right sub-task types."""
    return _mean(decomposition_scores(golds, predictions))


def dag_validity(predictions: Predictions, known: frozenset[str] | None = None) -> float:
    """Percent of plans that could be run."""
    return 100.0 * _mean(validity_scores(predictions, known))


def ece(confidences: Sequence[float], correct: Sequence[float] | Floats, bins: int = ECE_BINS) -> float:
    """Expected calibration error over bins of equal mass.

    Equal confidences always share a bin, so that the result does not depend on the order of the samples.

    Raises:
        InputError: The lengths differ, there is no sample, or a confidence is outside 0..1.
    """
    rows = reliability(confidences, correct, bins)
    total = sum(row[2] for row in rows)
    return float(sum(n * abs(confidence - accuracy) for confidence, accuracy, n in rows) / total)


def reliability(
    confidences: Sequence[float], correct: Sequence[float] | Floats, bins: int = ECE_BINS
) -> list[tuple[float, float, int]]:
    """Return (mean confidence, accuracy, samples) of each bin of equal mass.

    Raises:
        InputError: The lengths differ, there is no sample, or a confidence is outside 0..1.
    """
    values, hits = _checked(confidences, correct)
    order = np.argsort(values, kind="stable")
    values, hits = values[order], hits[order]
    places = np.arange(len(values)) * bins // len(values)  # (N,) bin by rank
    first = np.searchsorted(values, values, side="left")  # rank of the first equal confidence
    places = places[first]
    return [
        (float(values[places == b].mean()), float(hits[places == b].mean()), int((places == b).sum()))
        for b in np.unique(places)
    ]


def brier(confidences: Sequence[float], correct: Sequence[float] | Floats) -> float:
    """Mean squared distance between confidence and outcome.

    Raises:
        InputError: The lengths differ, there is no sample, or a confidence is outside 0..1.
    """
    values, hits = _checked(confidences, correct)
    return float(((values - hits) ** 2).mean())


def model_selection_accuracy(golds: Golds, selections: Sequence[Sequence[str] | None]) -> float | None:
    """Share of nodes that got the cheapest accepted worker.

    Only examples with known selections that are no imitation count: where the logged worker is merely what
    was done, agreeing with it proves nothing. None if no example counts.

    Raises:
        InputError: The lengths differ.
    """
    _same_length(golds, selections)
    right = total = 0
    for gold, chosen in zip(golds, selections, strict=True):
        if gold.model_selections is None or gold.imitation:
            continue
        total += len(gold.model_selections)
        if chosen is not None:
            right += sum(a == b for a, b in zip(gold.model_selections, chosen, strict=False))
    return right / total if total else None


def _each(golds: Golds, predictions: Predictions, score: Scorer) -> Floats:
    _same_length(golds, predictions)
    pairs = zip(golds, predictions, strict=True)
    return np.array([0.0 if p is None or not _readable(p) else score(g, p) for g, p in pairs], dtype=np.float64)


def _readable(plan: PlanPrediction) -> bool:
    """A plan whose edges point outside of it has no links to compare."""
    size = len(plan.task_types)
    return len(plan.dependencies) == size and all(0 <= p < size for ps in plan.dependencies for p in ps)


def _mean(scores: Floats) -> float:
    if not len(scores):
        raise InputError("There is no sample to measure.", remedy="Give at least one example.")
    return float(scores.mean())


def _same_length(golds: Sequence[object], predictions: Sequence[object]) -> None:
    if len(golds) != len(predictions):
        raise InputError(f"There are {len(golds)} examples but {len(predictions)} predictions.")


def _checked(confidences: Sequence[float], correct: Sequence[float] | Floats) -> tuple[Floats, Floats]:
    values, hits = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if values.shape != hits.shape or values.ndim != 1 or not len(values):
        raise InputError(f"Confidences and outcomes must be equally many, got {len(values)} and {len(hits)}.")
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError("Confidences must be between 0 and 1.")
    return values, hits
