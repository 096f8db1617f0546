"""The time predictor on llmperf: providers that it has never seen, and after a few calls to them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orchestai.importers import import_llmperf, read_outcomes
from orchestai.routing.timing import CallFacts, TimePredictor, fit_times

_FEW = (0, 5, 20)
_SIZE = re.compile(r"(\d+)b$")


def times(folder: Path) -> dict[str, Any]:
    """Leave each provider out and predict its calls, beside medians.

    The first 20 calls of each provider's model, which the few observations are taken from, are not measured.

    Returns:
        MAE and RMSE in milliseconds: `unseen_provider` after 0, 5 and 20 calls to it, `pooled_median` of the
        other providers, `size_median` of their models of that size, and `own_median`, which needs the
        provider's own later calls and so is no forecast.

    Raises:
        DataError: The folder is not llmperf.
    """
    with tempfile.TemporaryDirectory() as scratch:
        import_llmperf(folder, Path(scratch))
        rows = [row for row in read_outcomes(Path(scratch)).to_pylist() if row["completed"] and row["latency_ms"]]
    workers = [row["worker"] for row in rows]
    facts = [
        CallFacts(row["input_tokens"], row["output_tokens"], _parameters(worker))
        for row, worker in zip(rows, workers, strict=True)
    ]
    taken = np.array([row["latency_ms"] for row in rows])
    providers = np.array([worker.rsplit("-", 1)[0] for worker in workers])
    sizes = np.array([each.parameters_b or 0.0 for each in facts])
    order = _places(workers)
    found: dict[str, list[np.ndarray[Any, Any]]] = {}
    for provider in sorted(set(providers)):
        own = providers == provider
        measured = np.flatnonzero(own & (order >= _FEW[-1]))
        rest = np.flatnonzero(~own)
        fitted = fit_times([workers[i] for i in rest], [facts[i] for i in rest], taken[rest].tolist())
        for few in _FEW:
            known = _after(fitted, workers, facts, taken, np.flatnonzero(own & (order < few)))
            guess = np.array([known.quantile_ms(workers[i], facts[i]) for i in measured])
            found.setdefault(f"unseen_provider_after_{few}", []).append(guess - taken[measured])
        found.setdefault("pooled_median", []).append(np.median(taken[rest]) - taken[measured])
        for size in np.unique(sizes[own]):
            alike = rest[sizes[rest] == size]
            here = measured[sizes[measured] == size]
            middle = np.median(taken[alike if len(alike) else rest])
            found.setdefault("size_median", []).append(middle - taken[here])
        for worker in sorted({workers[i] for i in measured}):
            here = np.array([i for i in measured if workers[i] == worker])
            found.setdefault("own_median", []).append(np.median(taken[here]) - taken[here])
    errors = {name: np.concatenate(parts) for name, parts in found.items()}
    return {
        "calls": len(rows),
        "providers": len(set(providers)),
        **{
            name: {"mae_ms": float(np.abs(each).mean()), "rmse_ms": float(np.sqrt((each**2).mean()))}
            for name, each in errors.items()
        },
    }


def _after(
    fitted: TimePredictor, workers: Sequence[str], facts: Sequence[CallFacts], taken: Any, places: Any
) -> TimePredictor:
    for place in places:
        fitted = fitted.observe(workers[place], [(facts[place], float(taken[place]))])
    return fitted


def _parameters(worker: str) -> float | None:
    match = _SIZE.search(worker)
    return float(match[1]) if match else None


def _places(workers: Sequence[str]) -> np.ndarray[Any, Any]:
    """Which call of its worker each is, from 0."""
    seen: dict[str, int] = {}
    places = []
    for worker in workers:
        places.append(seen.get(worker, 0))
        seen[worker] = places[-1] + 1
    return np.array(places)
