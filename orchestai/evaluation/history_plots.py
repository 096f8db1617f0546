"""Plots over time: what versions score, and what executions were worth by day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestai.errors import InputError
from orchestai.evaluation.plots import _BLUE, _GREEN, _GREY, _ORANGE, _figure, _figures, _label, _png


def scores_over_versions(
    versions: Sequence[str], scores: Mapping[str, Sequence[Mapping[str, float]]], *, title: str = "Scores by version"
) -> bytes:
    """Draw one line a score over versions, with its 95 % intervals.

    Args:
        versions: Names, the oldest first.
        scores: Score to one `mean`, `low`, `high` (percent) a version.
        title: Of the plot.

    Raises:
        InputError: There is nothing to draw.
    """
    if not versions:
        raise InputError("There is no version to draw.")
    figure, axes = _figure(7, 4)
    places = list(range(len(versions)))
    for (name, rows), colour in zip(scores.items(), (_BLUE, _ORANGE, _GREEN, _GREY), strict=False):
        means = [row["mean"] for row in rows]
        low = [row["mean"] - row["low"] for row in rows]
        high = [row["high"] - row["mean"] for row in rows]
        axes.errorbar(
            places, means, yerr=[low, high], label=name.replace("_", " "), color=colour, marker="o", capsize=3
        )
    axes.set_xticks(places, versions, rotation=30, ha="right")
    axes.set_ylim(0, 102)
    _label(axes, title, "version, the newest at the right", "percent")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return _png(figure)


def outcomes_over_days(series: Mapping[str, Sequence[Any]], *, title: str = "Executions by day") -> bytes:
    """Draw success rate and mean cost by day, one line a series.

    Args:
        series: Name to the `Outcomes` of its days, in order.
        title: Of the plot.

    Raises:
        InputError: There is nothing to draw.
    """
    if not any(len(days) for days in series.values()):
        raise InputError("There is no day to draw.")
    figure, (left, right) = _figures(2, 9, 3.8)
    for (name, days), colour in zip(series.items(), (_BLUE, _GREY, _ORANGE, _GREEN), strict=False):
        names = [day.name for day in days]
        low = [100 * (day.success - day.success_low) for day in days]
        high = [100 * (day.success_high - day.success) for day in days]
        rates = [100 * day.success for day in days]
        left.errorbar(names, rates, yerr=[low, high], label=name, color=colour, marker="o", capsize=3)
        right.plot(names, [1000 * day.cost_usd for day in days], label=name, color=colour, marker="o")
    _label(left, f"{title}: success", "day", "percent accepted, 95 % interval")
    _label(right, f"{title}: cost", "day", "dollars a thousand executions")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.tick_params(axis="x", labelrotation=30)
        if len(series) > 1:
            axes.legend(fontsize=8)
    return _png(figure)
