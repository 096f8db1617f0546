"""The numbers of the report: scores in percent with 95 % intervals, by planner, split and family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestai.contracts import PlanExample, PlanPrediction

if TYPE_CHECKING:
    from orchestai.evaluation.metrics import Floats

COMPARED = ("node_f1", "link_f1", "edge_f1", "exact")

_FEWEST = 2
"""Rows of a template below which its score says nothing."""
_MOST_TEMPLATES = 10

Interval = dict[str, float]
Predictions = Sequence[PlanPrediction | None]


def intervals(examples: Sequence[PlanExample], predictions: Predictions) -> dict[str, Interval]:
    """Return the compared scores in percent, each as `mean`, `low`, `high`."""
    from orchestai.evaluation.evaluate import groups_of, scores

    groups = groups_of(examples)
    return {key: percent_interval(values, groups) for key, values in scores(examples, predictions).items()}


def differences(examples: Sequence[PlanExample], ours: Predictions, theirs: Predictions) -> dict[str, Interval]:
    """Return ours minus theirs in percentage points on the same rows, each as `mean`, `low`, `high`."""
    from orchestai.evaluation.evaluate import groups_of, scores

    groups = groups_of(examples)
    first, second = scores(examples, ours), scores(examples, theirs)
    return {key: percent_interval(first[key] - second[key], groups) for key in COMPARED}


def families(examples: Sequence[PlanExample], predictions: Predictions) -> list[dict[str, Any]]:
    """Return the scores of each family's members; of the templates only those that do worst.

    Every row: `family`, `member`, `n`, and the compared scores as intervals.
    """
    from orchestai.evaluation.families import FAMILIES, by_family

    rows = []
    for family in FAMILIES:
        found: list[dict[str, Any]] = []
        for member, places in by_family(examples, family).items():
            if family == "template" and len(places) < _FEWEST:
                continue
            part = [examples[place] for place in places]
            scored = intervals(part, [predictions[place] for place in places])
            found.append({"family": family, "member": member, "n": len(part), **scored})
        if family == "template":
            found = sorted(found, key=lambda row: (row["node_f1"]["mean"], row["member"]))[:_MOST_TEMPLATES]
        rows += found
    return rows


def percent_interval(values: Floats, groups: Sequence[str]) -> Interval:
    """Return the mean of shares in percent with its interval."""
    from orchestai.evaluation.intervals import bootstrap_mean

    return {name: 100 * value for name, value in bootstrap_mean(values, groups).items()}


def written(interval: Mapping[str, float], *, signed: bool = False) -> str:
    """Write an interval as people read it: `67.8 (63.1 to 72.4)`."""
    sign = "+" if signed else ""
    return f"{interval['mean']:{sign}.1f} ({interval['low']:{sign}.1f} to {interval['high']:{sign}.1f})"
