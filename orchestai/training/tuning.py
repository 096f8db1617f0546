"""What is fitted on the validation rows after training: decoding weights and the confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from orchestai.planner.agreement import PlanShape, agreement, link_f1, node_f1, same
from orchestai.planner.calibration import Calibration, expected_calibration_error, fit_calibration
from orchestai.planner.decoding import DecodedPlan, DecodingConfig, Proposal, choose
from orchestai.planner.learned import search
from orchestai.planner.model import PlannerEnsemble
from orchestai.planner.shapes import DescribedTypes
from orchestai.training.batches import Row, by_length, make_batch

_GRID: dict[str, tuple[float, ...]] = {
    "presence_weight": (0.0, 0.1, 0.2, 0.4, 0.7),
    "transition_weight": (0.0, 0.1, 0.3),
    "temperature": (1.0, 2.0),
    "edge_threshold": (0.5, 0.4, 0.3, 0.6),
}
_GAIN = 0.002
"""Least gain of agreement for which a weight leaves its default: a few dozen rows prefer much by chance."""


class _Found(NamedTuple):
    proposals: list[Proposal]
    gold: PlanShape


def measure_greedy(
    ensemble: PlannerEnsemble,
    rows: Sequence[Row],
    types: DescribedTypes,
    transitions: torch.Tensor,
    device: torch.device,
) -> dict[str, float]:
    """Metrics of greedy plans; empty without rows."""
    config = DecodingConfig(beam=1, candidates=1)
    found = _search(ensemble, rows, types, transitions, device, config)
    return _metrics([_choose(one, config).shape for one in found], [one.gold for one in found])


def tune(
    ensemble: PlannerEnsemble,
    rows: Sequence[Row],
    types: DescribedTypes,
    transitions: torch.Tensor,
    device: torch.device,
) -> tuple[DecodingConfig, Calibration, dict[str, float]]:
    """Choose the decoding, one weight after the other, then fit the confidence.

    Returns:
        Decoding, calibration, and the metrics on the same rows.
    """
    config = DecodingConfig()
    if not rows:
        return config, Calibration(), {}
    found = _search(ensemble, rows, types, transitions, device, config)
    best = _mean_agreement(found, config)
    for name, values in _GRID.items():
        start = config
        for value in values:
            candidate = start.model_copy(update={name: value})
            score = _mean_agreement(found, candidate)
            if score > best + _GAIN:
                best, config = score, candidate
    found = _search(ensemble, rows, types, transitions, device, config)
    decoded = [_choose(one, config) for one in found]
    right = [same(plan.shape, one.gold) for plan, one in zip(decoded, found, strict=True)]
    calibration = fit_calibration([plan.probability for plan in decoded], right)
    metrics = _metrics([plan.shape for plan in decoded], [one.gold for one in found])
    raw = [plan.probability for plan in decoded]
    metrics["ece_uncalibrated"] = expected_calibration_error(raw, right)
    metrics["ece"] = expected_calibration_error([calibration(probability) for probability in raw], right)
    return config, calibration, metrics


def _search(
    ensemble: PlannerEnsemble,
    rows: Sequence[Row],
    types: DescribedTypes,
    transitions: torch.Tensor,
    device: torch.device,
    config: DecodingConfig,
) -> list[_Found]:
    ensemble.eval()
    rows = by_length(rows)
    found: list[_Found] = []
    with torch.inference_mode():
        for start in range(0, len(rows), 32):
            part = rows[start : start + 32]
            batch = make_batch(part, device)
            proposals = search(ensemble, batch.encoded, types, batch.hints, transitions, config)
            found += [_Found(one, row.shape) for one, row in zip(proposals, part, strict=True)]
    return found


def _choose(found: _Found, config: DecodingConfig) -> DecodedPlan:
    return choose(found.proposals, config)


def _mean_agreement(found: Sequence[_Found], config: DecodingConfig) -> float:
    return sum(agreement(_choose(one, config).shape, one.gold) for one in found) / len(found)


def _metrics(plans: Sequence[PlanShape], golds: Sequence[PlanShape]) -> dict[str, float]:
    pairs = list(zip(plans, golds, strict=True))
    if not pairs:
        return {}
    scores: dict[str, Any] = {"node_f1": node_f1, "link_f1": link_f1, "exact": same, "agreement": agreement}
    return {name: sum(float(score(a, b)) for a, b in pairs) / len(pairs) for name, score in scores.items()}
