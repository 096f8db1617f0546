"""Plots that only the assets need; those of planners are in `orchestai.evaluation.plots`."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_DPI = 110
_HOURS = 24


def executions_by_hour(table: "pa.Table") -> bytes:
    """Draw how many executions ended in each hour of the day (UTC), stacked by planner, as PNG."""
    hours = [moment.hour for moment in table["timestamp"].to_pylist()]
    planners = [planner or "unknown" for planner in table["planner"].to_pylist()]
    counts = Counter(zip(planners, hours, strict=True))
    figure, axes = _figure(7, 2.8)
    bottom = [0] * _HOURS
    for planner in sorted(set(planners)):
        heights = [counts[planner, hour] for hour in range(_HOURS)]
        axes.bar(range(_HOURS), heights, bottom=bottom, label=planner, width=0.85)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set_xticks(range(0, _HOURS, 3))
    axes.set_xlim(-0.6, _HOURS - 0.4)
    axes.set_xlabel("hour (UTC)")
    axes.set_ylabel("executions")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(title="planner", fontsize=8)
    return _png(figure)


def balance(counts: Mapping[str, int], *, title: str) -> bytes:
    """Draw how often each value occurs, the most frequent first, as PNG."""
    rows = sorted(counts.items(), key=lambda row: (row[1], row[0]))
    figure, axes = _figure(7, max(1.8, 0.3 * len(rows) + 1))
    bars = axes.barh([name for name, _ in rows], [count for _, count in rows])
    axes.bar_label(bars, padding=2, fontsize=8)
    axes.margins(x=0.1)
    axes.set_title(title)
    return _png(figure)


def dimension_bars(scores: Mapping[str, float | None]) -> bytes:
    """Draw the score of each dimension, those that could not be measured as empty bars, as PNG."""
    figure, axes = _figure(7, max(1.8, 0.3 * len(scores) + 0.6))
    shown = list(scores.items())[::-1]
    names, values = [name.replace("_", " ") for name, _ in shown], [value for _, value in shown]
    colours = ["#c62828" if (v or 0) < 40 else "#ef6c00" if (v or 0) < 95 else "#2e7d32" for v in values]
    bars = axes.barh(names, [value or 0.0 for value in values], color=colours)
    axes.bar_label(bars, ["not measurable" if v is None else f"{v:.0f}" for v in values], padding=2, fontsize=8)
    axes.set_xlim(0, 112)
    axes.set_xlabel("score, 100 is healthy")
    return _png(figure)


def success_by_worker(rates: Mapping[str, float]) -> bytes:
    """Draw the share of accepted answers of each worker, the best first, as PNG."""
    rows = sorted(rates.items(), key=lambda row: (row[1], row[0]))
    figure, axes = _figure(7, max(1.8, 0.3 * len(rows) + 1))
    bars = axes.barh([name for name, _ in rows], [rate for _, rate in rows])
    axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=8)
    axes.set_xlim(0, 1.08)
    axes.set_xlabel("share of accepted answers")
    return _png(figure)


def calibration(bins: Sequence[tuple[float, float, int]]) -> bytes:
    """Draw expected against observed success by bin (expected, observed, outcomes), as PNG."""
    figure, axes = _figure(4.2, 4)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    most = max((count for _, _, count in bins), default=1)
    sizes = [10 + 150 * count / most for _, _, count in bins]
    axes.scatter([expected for expected, _, _ in bins], [observed for _, observed, _ in bins], s=sizes)
    axes.set_xlabel("expected success")
    axes.set_ylabel("observed success")
    return _png(figure)


def price_curve(points: Sequence[tuple[float, float]]) -> bytes:
    """Draw success in percent by dollars a thousand sub-tasks, as PNG."""
    rows = sorted(points)
    figure, axes = _figure(6, 3)
    axes.plot([1000 * usd for usd, _ in rows], [100 * success for _, success in rows], marker=".")
    axes.set_xlabel("dollars a thousand sub-tasks")
    axes.set_ylabel("success (%)")
    return _png(figure)


def pareto_picture(pareto: Mapping[str, Any]) -> bytes:
    """Draw the front of cost and success, as expected and as it came, and the methods beside it, as PNG."""
    figure, axes = _figure(6, 3.5)
    front = pareto["front"]
    dollars = [1000 * point["cost_usd"] for point in front]
    axes.plot(dollars, [100 * point["expected_success"] for point in front], marker=".", label="front, as expected")
    axes.plot(
        dollars, [100 * point["success"] for point in front], marker=".", linestyle=":", label="front, as it came"
    )
    for name, row in pareto["methods"].items():
        axes.scatter([1000 * row["cost_usd"]], [100 * row["success"]], marker="x", color="black", s=20)
        axes.annotate(name, (1000 * row["cost_usd"], 100 * row["success"]), fontsize=7)
    axes.set_xlabel("dollars a thousand workflows")
    axes.set_ylabel("success (%)")
    axes.legend(fontsize=7)
    return _png(figure)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    # No pyplot: it keeps global state, and a Dagster process draws from several threads.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    return figure, figure.subplots()


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
