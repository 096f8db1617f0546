"""Measure a planner, and compare several on the same examples."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orchestai.contracts import PlanExample, PlanPrediction, PlanPredictor, TaskCatalog
from orchestai.errors import InputError, OrchestAIError
from orchestai.evaluation import metrics
from orchestai.evaluation.intervals import bootstrap_mean

COMPARED = ("node_f1", "link_f1", "edge_f1", "exact")

_TIMED = 64
_BATCH = 64


def evaluate_predictor(
    predictor: PlanPredictor, examples: Sequence[PlanExample], *, tasks: TaskCatalog | None = None
) -> dict[str, float]:
    """Measure `predictor` on `examples`.

    Args:
        predictor: What to measure; it sees the instructions only.
        examples: With the gold plans.
        tasks: A plan with a type outside of this catalog is not valid.

    Returns:
        node_f1, link_f1, edge_f1, exact, decomposition_accuracy (all 0..1), dag_validity (percent), ece,
        brier, ms_per_plan_p50, n, unanswered.

    Raises:
        InputError: There is no example.
    """
    if not examples:
        raise InputError("There is no example to evaluate on.", remedy="Give at least one.")
    predictions = answers(predictor, examples)
    return {**measure(examples, predictions, tasks), "ms_per_plan_p50": ms_per_plan(predictor, examples)}


def answers(predictor: PlanPredictor, examples: Sequence[PlanExample]) -> list[PlanPrediction | None]:
    """Return one prediction an example; None where the predictor gave up with an error of ours."""
    found: list[PlanPrediction | None] = []
    for at in range(0, len(examples), _BATCH):
        texts = [example.instruction for example in examples[at : at + _BATCH]]
        try:
            batch = predictor.predict(texts)
        except OrchestAIError:
            found += [_single(predictor, text) for text in texts]
            continue
        if len(batch) != len(texts):
            raise InputError(f"The predictor returned {len(batch)} plans for {len(texts)} instructions.")
        found += batch
    return found


def measure(
    examples: Sequence[PlanExample],
    predictions: Sequence[PlanPrediction | None],
    tasks: TaskCatalog | None = None,
) -> dict[str, float]:
    """Return all metrics of given predictions; an unanswered example is wrong with confidence 0.

    F1 scores, shares and the validity are percentages; `ece` and `brier` are as their papers have them.
    `edge_f1_non_chain` is the edge F1 over examples whose gold plan is no plain chain, where order alone does
    not give the edges away; it is absent when there are none.
    """
    known = frozenset(tasks.names) if tasks else None
    right = metrics.exact_scores(examples, predictions)
    confidences = [plan.confidence if plan is not None else 0.0 for plan in predictions]
    free = [place for place, example in enumerate(examples) if not is_chain(example)]
    on_free = metrics.edge_f1([examples[i] for i in free], [predictions[i] for i in free]) if free else None
    return {
        "n": float(len(examples)),
        "unanswered": float(sum(plan is None for plan in predictions)),
        "node_f1": 100 * metrics.node_f1(examples, predictions),
        "link_f1": 100 * metrics.link_f1(examples, predictions),
        "edge_f1": 100 * metrics.edge_f1(examples, predictions),
        **({} if on_free is None else {"edge_f1_non_chain": 100 * on_free}),
        "exact": 100 * float(right.mean()),
        "decomposition_accuracy": 100 * metrics.decomposition_accuracy(examples, predictions),
        "dag_validity": metrics.dag_validity(predictions, known),
        "ece": metrics.ece(confidences, right),
        "brier": metrics.brier(confidences, right),
    }


def is_chain(example: PlanExample) -> bool:
    """Say whether every node of the plan waits for exactly the one before it."""
    return example.dependencies == tuple((node - 1,) if node else () for node in range(len(example.task_types)))


def ms_per_plan(predictor: PlanPredictor, examples: Sequence[PlanExample], *, fresh: bool = True) -> float:
    """Return the median time of planning one instruction alone, in milliseconds.

    Args:
        predictor: What to time.
        examples: Instructions.
        fresh: Add a number never seen before to each instruction, because encoders remember texts that they
            have seen, and a user's next instruction is not among those. Otherwise each one is planned once
            before it is timed, so that its embedding is remembered where the predictor does that.
    """
    times = []
    for example in examples[: _TIMED + 1]:
        text = f"{example.instruction} ({time.perf_counter_ns() % 10**6})" if fresh else example.instruction
        if not fresh:
            _single(predictor, text)
        started = time.perf_counter()
        _single(predictor, text)
        times.append((time.perf_counter() - started) * 1000)
    return float(np.median(times[1:] or times))  # the first call pays for what is loaded lazily


def compare(
    predictors: Mapping[str, PlanPredictor],
    examples: Sequence[PlanExample],
    *,
    reference: str | None = None,
    tasks: TaskCatalog | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure all predictors on the same examples and say how far each differs from `reference`.

    Args:
        predictors: By name.
        examples: With the gold plans; examples of one group are drawn together.
        reference: The first one, if not given.
        tasks: See `evaluate_predictor`.
        resamples: Bootstrap draws.
        seed: Of the draws.

    Returns:
        `results`: metrics by name; `reference`; `differences`: by name and metric, reference minus the other,
        as `mean` with the 95 % interval `low`..`high`.

    Raises:
        InputError: There is no example or no predictor, or `reference` is not among them.
    """
    if not predictors or not examples:
        raise InputError("A comparison needs at least one predictor and one example.")
    base = reference if reference is not None else next(iter(predictors))
    if base not in predictors:
        raise InputError(f"The reference {base!r} is not among the predictors: {', '.join(predictors)}.")
    found = {name: answers(predictor, examples) for name, predictor in predictors.items()}
    each = {name: scores(examples, predictions) for name, predictions in found.items()}
    differences = {
        name: {
            key: paired_bootstrap(each[base][key], each[name][key], groups_of(examples), resamples=resamples, seed=seed)
            for key in COMPARED
        }
        for name in predictors
        if name != base
    }
    results = {
        name: {
            **measure(examples, predictions, tasks),
            "ms_per_plan_p50": ms_per_plan(predictors[name], examples),
        }
        for name, predictions in found.items()
    }
    return {"results": results, "reference": base, "differences": differences}


def paired_bootstrap(
    ours: metrics.Floats,
    theirs: metrics.Floats,
    groups: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """Return the mean of `ours - theirs` with its 95 % interval; see `bootstrap_mean`."""
    return bootstrap_mean(ours - theirs, groups, resamples=resamples, seed=seed)


def groups_of(examples: Sequence[PlanExample]) -> list[str]:
    """Return the group of each example; one without group is a group of its own."""
    return [example.group or f"\0{index}" for index, example in enumerate(examples)]


def scores(examples: Sequence[PlanExample], predictions: Sequence[PlanPrediction | None]) -> dict[str, metrics.Floats]:
    """Return the compared metrics, 0..1, a sample."""
    return {
        "node_f1": metrics.node_f1_scores(examples, predictions),
        "link_f1": metrics.link_f1_scores(examples, predictions),
        "edge_f1": metrics.edge_f1_scores(examples, predictions),
        "exact": metrics.exact_scores(examples, predictions),
    }


def _single(predictor: PlanPredictor, text: str) -> PlanPrediction | None:
    try:
        return predictor.predict([text])[0]
    except OrchestAIError:
        return None
