"""The worst plans of the test split beside the gold ones, in words and as graphs."""

from __future__ import annotations

from collections.abc import Sequence

from orchestai.contracts import PlanExample, PlanPrediction

LISTED = 8
PICTURED = 4


def worst(examples: Sequence[PlanExample], predictions: Sequence[PlanPrediction | None]) -> list[int]:
    """Return the places of all examples, the worst plan first.

    Worst is the lowest mean of node and edge F1; among equals the one that was surest of itself.
    """
    from orchestai.evaluation.evaluate import scores

    found = scores(examples, predictions)
    agreement = (found["node_f1"] + found["edge_f1"]) / 2

    def rank(place: int) -> tuple[float, float, str]:
        predicted = predictions[place]
        return (float(agreement[place]), -(predicted.confidence if predicted else 0.0), examples[place].id)

    return sorted(range(len(examples)), key=rank)


def listed(gold: PlanExample, predicted: PlanPrediction | None) -> dict[str, str]:
    """Return one example as a row of text."""
    return {
        "instruction": short(gold.instruction),
        "gold": describe_plan(gold),
        "predicted": describe_plan(predicted),
        "confidence": "" if predicted is None else f"{predicted.confidence:.2f}",
        "exact": "yes" if equal(gold, predicted) else "no",
    }


def pictures(
    examples: Sequence[PlanExample], predictions: Sequence[PlanPrediction | None], places: Sequence[int]
) -> dict[str, bytes]:
    """Draw the first few of `places` that have a plan, gold and predicted side by side."""
    from orchestai.evaluation.plots import plan_pair

    drawn = [
        (examples[place], plan) for place in places if (plan := predictions[place]) is not None and plan.task_types
    ]
    return {
        f"plan_{number}.png": plan_pair(gold, plan, title=short(gold.instruction))
        for number, (gold, plan) in enumerate(drawn[:PICTURED], start=1)
    }


def describe_plan(plan: PlanExample | PlanPrediction | None) -> str:
    """Return a plan in one line: `audio_transcription; summarization(0); translation(1)`."""
    if plan is None:
        return "no plan"
    parts = zip(plan.task_types, plan.dependencies, strict=True)
    return "; ".join(f"{name}({', '.join(map(str, parents))})" if parents else name for name, parents in parts)


def equal(gold: PlanExample, predicted: PlanPrediction | None) -> bool:
    """Say whether the plan is the gold plan."""
    from orchestai.evaluation.metrics import exact

    return exact([gold], [predicted]) == 1.0


def short(text: str) -> str:
    """Return a text in one line that fits a table."""
    line = " ".join(text.split())
    return line if len(line) <= 160 else f"{line[:159]}…"
