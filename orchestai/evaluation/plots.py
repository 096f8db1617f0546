"""Plots for reports, as PNG bytes. Matplotlib is loaded on first use and draws without a display."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orchestai.contracts import PlanExample, PlanPrediction, WorkflowGraph
from orchestai.errors import InputError
from orchestai.evaluation.confusion import ConfusionMatrix
from orchestai.evaluation.metrics import brier, edges, reliability

_BLUE, _ORANGE, _GREY, _GREEN, _RED = "#2b6cb0", "#dd6b20", "#718096", "#2f855a", "#c53030"
_DPI = 120
_WIDEST = 9.5
"""Inches; what is wider does not fit the window in which Dagster shows a picture."""
_SHOWN_LABELS = 40

DrawnPlan = PlanExample | PlanPrediction | WorkflowGraph


def loss_curves(
    curves: Mapping[str, Sequence[float]],
    *,
    best_epoch: int | None = None,
    title: str = "Loss by epoch",
    quantity: str = "loss",
) -> bytes:
    """Draw one line a curve.

    Args:
        curves: Name (such as `train`) to the loss after each epoch, from epoch 1.
        best_epoch: Epoch whose checkpoint was kept.
        title: Of the plot.
        quantity: What is drawn.

    Raises:
        InputError: There is nothing to draw.
    """
    if not any(len(values) for values in curves.values()):
        raise InputError(f"There is no {quantity} to draw.")
    figure, axes = _figure(7, 4.2)
    colours = (_BLUE, _ORANGE, _GREEN, _GREY, _RED)
    for index, (name, values) in enumerate(curves.items()):
        epochs = np.arange(1, len(values) + 1)
        marker = "o" if len(values) < 40 else None
        colour = colours[index % len(colours)]
        axes.plot(epochs, values, label=name, color=colour, marker=marker, markersize=3)
    if best_epoch is not None:
        axes.axvline(best_epoch, color=_GREY, linestyle="--", label=f"kept: epoch {best_epoch}")
    _label(axes, title, "epoch", quantity)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()
    return _png(figure)


def confusion_plot(matrix: ConfusionMatrix, *, title: str = "Task types: gold and predicted") -> bytes:
    """Draw the confusion matrix; shares of the gold type as colour, counts as numbers.

    With more than 40 types the most frequent ones are shown and the rest is summed up.
    """
    matrix = _shrunk(matrix)
    counts = matrix.array()
    size = len(matrix.labels)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(5.0, 0.42 * size + 2.5)
    figure, axes = _figure(side + 1, side)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(size), matrix.labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), matrix.labels)
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.55 else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", color=colour, fontsize=8)
    _label(axes, title, "predicted", "gold")
    figure.colorbar(image, ax=axes, label="share of the gold type", fraction=0.046)
    return _png(figure)


def calibration_plot(
    confidences: Sequence[float], correct: Sequence[float], *, title: str = "Calibration of the confidence"
) -> bytes:
    """Draw accuracy over confidence in bins of equal mass, with calibration error and Brier score.

    Raises:
        InputError: There is no sample, or a confidence is outside 0..1.
    """
    rows = reliability(confidences, correct)
    total = sum(n for _, _, n in rows)
    error = sum(n * abs(confidence - accuracy) for confidence, accuracy, n in rows) / total
    squared = brier(confidences, correct)
    figure, axes = _figure(5.2, 5)
    axes.plot([0, 1], [0, 1], linestyle="--", color=_GREY, label="perfect")
    axes.plot([row[0] for row in rows], [row[1] for row in rows], marker="o", color=_BLUE, label=f"{len(rows)} bins")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    _label(
        axes, f"{title}\nECE {error:.3f}, Brier {squared:.3f}, n = {total}", "mean confidence", "share of right plans"
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    return _png(figure)


def comparison_plot(
    results: Mapping[str, Mapping[str, float]],
    keys: Sequence[str] = ("node_f1", "link_f1", "exact"),
    *,
    title: str = "Planners on the same examples",
) -> bytes:
    """Draw one group of bars a metric, one bar a planner.

    Args:
        results: Planner to metrics, as `compare` returns them; the first planner is drawn in colour.
        keys: Metrics to show, each between 0 and 1.
        title: Of the plot.

    Raises:
        InputError: There is nothing to draw.
    """
    if not results or not keys:
        raise InputError("A comparison needs at least one planner and one metric.")
    figure, axes = _figure(max(6.0, 1.1 * len(keys) * len(results) ** 0.8 + 2), 4.5)
    width = 0.8 / len(results)
    shades = (_BLUE, "#a0aec0", _GREY, "#4a5568", "#cbd5e0", _ORANGE)
    for index, (name, values) in enumerate(results.items()):
        places = np.arange(len(keys)) + (index - (len(results) - 1) / 2) * width
        heights = [float(values.get(key, 0.0)) for key in keys]
        bars = axes.bar(places, heights, width * 0.95, label=name, color=shades[index % len(shades)])
        axes.bar_label(bars, fmt="%.2f", fontsize=8, padding=1)
    axes.set_xticks(range(len(keys)), [key.replace("_", " ") for key in keys])
    axes.set_ylim(0, 1.12)
    _label(axes, title, "metric", "score")
    axes.legend(loc="upper right", ncols=min(4, len(results)), fontsize=8)
    return _png(figure)


def threshold_plot(
    thresholds: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    *,
    chosen: float,
    title: str = "What the threshold on the confidence does",
) -> bytes:
    """Draw shares or scores (0..1) over the threshold, with the chosen one marked.

    Raises:
        InputError: There is nothing to draw.
    """
    if not thresholds or not curves:
        raise InputError("There is no threshold to draw.")
    figure, axes = _figure(6.5, 4.2)
    for (name, values), colour in zip(curves.items(), (_GREY, _BLUE, _ORANGE, _GREEN, _RED), strict=False):
        axes.plot(thresholds, values, label=name, color=colour)
    axes.axvline(chosen, color=_RED, linestyle="--", label=f"configured: {chosen:g}")
    axes.set_ylim(-0.02, 1.02)
    _label(axes, title, "threshold", "share or score")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return _png(figure)


def plan_pair(gold: DrawnPlan, predicted: DrawnPlan, *, title: str = "Plan") -> bytes:
    """Draw the gold plan and the predicted one side by side, parents to the left of children."""
    figure, (left, right) = _figures(
        2, max(7.0, 3.6 * max(_depth(gold), _depth(predicted))), 1.6 + 0.8 * max(_height(gold), _height(predicted))
    )
    _draw_plan(left, gold, "gold", _GREEN)
    _draw_plan(right, predicted, "predicted", _BLUE)
    short = title if len(title) <= 160 else f"{title[:157]}..."
    figure.suptitle(textwrap.fill(short, 85), fontsize=9)
    return _png(figure)


def _draw_plan(axes: Any, plan: DrawnPlan, title: str, colour: str) -> None:
    names, links = _parts(plan)
    levels = _levels(len(names), links)
    column = [levels.count(level) for level in range(max(levels) + 1)]
    seen = [0] * len(column)
    places = []
    for level in levels:
        places.append((float(level), -(seen[level] - (column[level] - 1) / 2)))
        seen[level] += 1
    boxes = []
    for index, (name, (x, y)) in enumerate(zip(names, places, strict=True)):
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": colour}
        text = axes.text(x, y, f"{index}. {_wrapped(name)}", ha="center", va="center", fontsize=8, bbox=box)
        boxes.append(text.get_bbox_patch())
    for parent, child in links:
        bend = 0.25 if levels[child] - levels[parent] > 1 else 0.0
        # Boxes first: an arrow ends where the box is drawn, whatever its width.
        ends = {"patchA": boxes[parent], "patchB": boxes[child], "shrinkA": 1, "shrinkB": 1}
        style = {"arrowstyle": "-|>", "color": _GREY, **ends}
        axes.annotate(
            "",
            places[child],
            places[parent],
            arrowprops={**style, "connectionstyle": f"arc3,rad={bend}"},
        )
    axes.set_xlim(-0.6, max(levels) + 0.6)
    axes.set_ylim(-max(column) / 2 - 0.3, max(column) / 2 + 0.3)
    axes.set_title(f"{title}: {len(names)} sub-tasks, {len(links)} edges", color=colour, fontsize=10)
    axes.axis("off")


def _parts(plan: DrawnPlan) -> tuple[list[str], list[tuple[int, int]]]:
    if isinstance(plan, WorkflowGraph):
        return [node.task_type for node in plan.nodes], list(plan.edges)
    if not plan.task_types:
        raise InputError("A plan without sub-tasks cannot be drawn.")
    return list(plan.task_types), edges(plan)


def _levels(size: int, links: Sequence[tuple[int, int]]) -> list[int]:
    levels = [0] * size
    for _ in range(size):  # an invalid plan may hold a cycle: stop after as many rounds as there are nodes
        for parent, child in links:
            levels[child] = min(size - 1, max(levels[child], levels[parent] + 1))
    return levels


def _depth(plan: DrawnPlan) -> int:
    names, links = _parts(plan)
    return max(_levels(len(names), links)) + 1


def _height(plan: DrawnPlan) -> int:
    names, links = _parts(plan)
    levels = _levels(len(names), links)
    return max(levels.count(level) for level in levels)


def _wrapped(name: str) -> str:
    words = name.replace("_", " ").split()
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > 15:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines[:3])


def _shrunk(matrix: ConfusionMatrix) -> ConfusionMatrix:
    if len(matrix.labels) <= _SHOWN_LABELS + 1:
        return matrix
    counts = matrix.array()
    weight = counts.sum(axis=0)[:-1] + counts.sum(axis=1)[:-1]
    kept = sorted(np.argsort(-weight, kind="stable")[: _SHOWN_LABELS - 1])
    rest = [index for index in range(len(weight)) if index not in set(kept)]
    groups = [[int(index)] for index in kept] + [rest, [len(weight)]]
    summed = np.array([[counts[np.ix_(a, b)].sum() for b in groups] for a in groups])
    labels = [matrix.labels[index] for index in kept] + [f"({len(rest)} others)", matrix.labels[-1]]
    return ConfusionMatrix(labels=tuple(labels), counts=tuple(tuple(int(n) for n in row) for row in summed))


def _figure(width: float, height: float) -> tuple[Any, Any]:
    figure, (axes,) = _figures(1, width, height)
    return figure, axes


def _figures(columns: int, width: float, height: float) -> tuple[Any, Any]:
    # Figure and canvas directly: pyplot would keep every figure alive and pick a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(min(width, _WIDEST), height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(1, columns, index + 1) for index in range(columns)]


def _label(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def score_plot(scores: Sequence[float], threshold: float, *, title: str = "Scores while all is well") -> bytes:
    """Draw how often scores come, and the threshold above which there is an alarm.

    Raises:
        InputError: There is nothing to draw.
    """
    if not len(scores):
        raise InputError("There is no score to draw.")
    figure, axes = _figure(7, 4.2)
    axes.hist(scores, bins=60, color=_BLUE, log=True)
    axes.axvline(threshold, color=_RED, linestyle="--", label=f"threshold {threshold:.2f}")
    _label(axes, title, "score", "calls")
    axes.grid(alpha=0.3)
    axes.legend()
    return _png(figure)
