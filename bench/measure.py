"""The learned planner and the baselines, measured on the same examples in the same run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.splits import Parts, unseen
from orchestai.contracts import PlanExample, PlanPrediction, PlanPredictor, TaskCatalog
from orchestai.embeddings.protocol import TextEncoder
from orchestai.evaluation import metrics
from orchestai.evaluation.baselines import ChancePlanner, NearestPlan
from orchestai.evaluation.evaluate import answers, is_chain, measure, ms_per_plan, paired_bootstrap
from orchestai.evaluation.ridge import KernelRidgePlanner
from orchestai.planner.rules import RulesPlanner

KEYS = (
    "node_f1",
    "link_f1",
    "edge_f1",
    "exact",
    "dag_validity",
    "ece",
    "brier",
    "decomposition_accuracy",
    "ms_per_plan_p50",
    "ms_per_plan_cached_p50",
)

_COMPARED = {
    "node_f1": metrics.node_f1_scores,
    "link_f1": metrics.link_f1_scores,
    "edge_f1": metrics.edge_f1_scores,
    "exact": metrics.exact_scores,
}


def baselines(parts: Parts, tasks: TaskCatalog, encoder: TextEncoder) -> dict[str, PlanPredictor]:
    """Fit the simple planners on train, with all their choices made on validation."""
    return {
        "rules": RulesPlanner(tasks),
        "nn_copy": NearestPlan(parts.train, parts.validation, encoder),
        "kernel_ridge": KernelRidgePlanner(parts.train, parts.validation, encoder),
        "most_frequent": ChancePlanner(parts.train),
    }


class Measured:
    """Answers of one planner on the test part, with everything that is computed from them.

    Args:
        planner: What to measure.
        parts: Only the test part is shown to it.
        tasks: The known task types.
    """

    def __init__(self, planner: PlanPredictor, parts: Parts, tasks: TaskCatalog) -> None:
        self._parts = parts
        self._tasks = tasks
        self.predictions: list[PlanPrediction | None] = answers(planner, parts.test)
        self.ms = {
            "ms_per_plan_p50": ms_per_plan(planner, parts.test),
            "ms_per_plan_cached_p50": ms_per_plan(planner, parts.test, fresh=False),
        }

    def results(self, subsets: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        """Return the metrics on the whole test part and, by name, on parts of it."""
        whole = measure(self._parts.test, self.predictions, self._tasks)
        found: dict[str, Any] = {key: self.ms[key] if key in self.ms else whole[key] for key in KEYS}
        for name, places in subsets.items():
            if places:
                found[name] = self._on(places)
        return found

    def minus(self, other: Measured) -> dict[str, Any]:
        """Return how much better this planner is, with 95 % intervals (paired bootstrap over groups)."""
        test = self._parts.test
        groups = [example.group or example.id for example in test]
        return {
            key: paired_bootstrap(100 * score(test, self.predictions), 100 * score(test, other.predictions), groups)
            for key, score in _COMPARED.items()
        }

    def _on(self, places: Sequence[int]) -> dict[str, Any]:
        golds: list[PlanExample] = [self._parts.test[i] for i in places]
        found = [self.predictions[i] for i in places]
        values = measure(golds, found, self._tasks)
        return {"n": len(places), **{key: values[key] for key in ("node_f1", "link_f1", "edge_f1", "exact")}}


def subsets(parts: Parts) -> dict[str, list[int]]:
    """Name the parts of the test that are worth a look of their own."""
    return {
        "unseen_combinations": unseen(parts.train, parts.test),
        "not_chains": [i for i, example in enumerate(parts.test) if not is_chain(example)],
    }


def full_results(
    learned: PlanPredictor | None, simple: Mapping[str, PlanPredictor], parts: Parts, tasks: TaskCatalog
) -> dict[str, Any]:
    """Measure everything.

    Returns:
        The learned planner's metrics at the top, `baselines` by name, and `gain_over` by baseline. Without a
        learned planner only the baselines.
    """
    looked_at = subsets(parts)
    measured = {name: Measured(planner, parts, tasks) for name, planner in simple.items()}
    results: dict[str, Any] = {}
    if learned is not None:
        ours = Measured(learned, parts, tasks)
        results.update(ours.results(looked_at))
        results["gain_over"] = {name: ours.minus(other) for name, other in measured.items()}
    results["baselines"] = {name: other.results(looked_at) for name, other in measured.items()}
    return results
