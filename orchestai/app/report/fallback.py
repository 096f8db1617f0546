"""What the fallback buys: in the log, where it happened, and on test rows, where it would."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestai.app.report.measure import Predictions, percent_interval
from orchestai.contracts import PlanExample
from orchestai.logs.parquet import read_parquet

KEPT = "learned plan kept"
_COLUMNS = ("instruction", "planner", "fallback_reason", "success")
_THRESHOLDS = tuple(step / 50 for step in range(51))


def in_the_log(tables: Sequence[Path]) -> list[dict[str, Any]]:
    """Return how often executions succeeded, by whether the learned plan gave way and to whom.

    Every row: `plan`, `executions`, `success` as an interval in percent. Executions of one instruction are drawn
    together. The two kinds are not the same instructions: the learned plan gives way on the harder ones.
    """
    rows: list[dict[str, Any]] = []
    for table in tables:
        rows += read_parquet(table, _COLUMNS).to_pylist()
    return success_shares(rows)


def success_shares(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the same of rows with `instruction`, `planner`, `fallback_reason` and `success`."""
    import numpy as np

    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["fallback_reason"]:
            found.setdefault(f"gave way to {row['planner']}", []).append(row)
        elif row["planner"] == "learned":
            found.setdefault(KEPT, []).append(row)
    return [
        {
            "plan": name,
            "executions": len(part),
            "success": percent_interval(
                np.array([float(row["success"]) for row in part]), [row["instruction"] for row in part]
            ),
        }
        for name, part in sorted(found.items(), key=lambda item: (item[0] != KEPT, item[0]))
    ]


def on_test_rows(
    examples: Sequence[PlanExample], learned: Predictions, rules: Predictions, threshold: float
) -> dict[str, Any]:
    """Return what the threshold separates: both planners on the rows above and below it.

    `share_below` is in percent; each row has `rows` (`kept` or `gives way`), `n` and, for both planners, node F1 and
    exact as intervals in percent, with their difference, learned minus rules.
    """
    from orchestai.evaluation.evaluate import groups_of, scores

    confidences = [plan.confidence if plan is not None else 0.0 for plan in learned]
    ours, theirs, groups = scores(examples, learned), scores(examples, rules), groups_of(examples)
    parts = []
    for name, above in (("kept", True), ("gives way", False)):
        places = [place for place, value in enumerate(confidences) if (value >= threshold) == above]
        if not places:
            continue
        names = [groups[place] for place in places]
        row: dict[str, Any] = {"rows": name, "n": len(places)}
        for key in ("node_f1", "exact"):
            first, second = ours[key][places], theirs[key][places]
            row[f"learned {key}"] = percent_interval(first, names)
            row[f"rules {key}"] = percent_interval(second, names)
            row[f"difference {key}"] = percent_interval(first - second, names)
        parts.append(row)
    below = sum(value < threshold for value in confidences)
    return {"threshold": threshold, "share_below": 100 * below / len(confidences), "parts": parts}


def picture(examples: Sequence[PlanExample], learned: Predictions, rules: Predictions, threshold: float) -> bytes:
    """Draw, over the threshold, the share that gives way and the node F1 of learned plan and rules together."""
    import numpy as np

    from orchestai.evaluation.metrics import exact_scores, node_f1_scores
    from orchestai.evaluation.plots import threshold_plot

    confidences = np.array([plan.confidence if plan is not None else 0.0 for plan in learned])
    below = confidences[None, :] < np.array(_THRESHOLDS)[:, None]  # (thresholds, rows)

    def mixed(ours: Any, theirs: Any) -> list[float]:
        return [float(value) for value in np.where(below, theirs[None, :], ours[None, :]).mean(axis=1)]

    return threshold_plot(
        _THRESHOLDS,
        {
            "share that gives way": [float(value) for value in below.mean(axis=1)],
            "node F1, rules below": mixed(node_f1_scores(examples, learned), node_f1_scores(examples, rules)),
            "exact, rules below": mixed(exact_scores(examples, learned), exact_scores(examples, rules)),
        },
        chosen=threshold,
    )
