"""Confidence: a probability that a plan is exactly right, fitted on validation data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestai.contracts.base import Record

_CLIP = 1e-6


class Calibration(Record):
    """Platt scaling (Platt 1999 eq. 11) on the log-odds of the decoder's probability.

    Attributes:
        slope: Inverse temperature.
        offset: Shift of the log-odds.
        rows: Validation rows behind it; 0 means that nothing was fitted.
    """

    slope: float = 1.0
    offset: float = 0.0
    rows: int = 0

    def __call__(self, probability: float) -> float:
        """Return the calibrated probability."""
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, self.slope * _logit(probability) + self.offset))))


def fit_calibration(probabilities: Sequence[float], right: Sequence[bool]) -> Calibration:
    """Fit on predictions whose correctness is known.

    Targets are smoothed as Platt proposes, (n+ + 1) / (n+ + 2), so few rows give a cautious fit. The
    slope is kept positive: a more probable plan never becomes less credible.
    """
    if not probabilities:
        return Calibration()
    positives = sum(right)
    negatives = len(right) - positives
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    targets = [high if ok else low for ok in right]
    logits = [_logit(probability) for probability in probabilities]
    slope, offset = 1.0, 0.0
    for _ in range(100):  # Newton; ridge of 0.1 towards slope 1 keeps separable data finite
        g_slope, g_offset = 0.1 * (slope - 1.0), 0.0
        h_ss, h_so, h_oo = 0.1, 0.0, 1e-6
        for x, target in zip(logits, targets, strict=True):
            p = 1 / (1 + math.exp(-max(-30.0, min(30.0, slope * x + offset))))
            g_slope += (p - target) * x
            g_offset += p - target
            weight = p * (1 - p)
            h_ss += weight * x * x
            h_so += weight * x
            h_oo += weight
        det = h_ss * h_oo - h_so * h_so
        step_slope = (h_oo * g_slope - h_so * g_offset) / det
        step_offset = (h_ss * g_offset - h_so * g_slope) / det
        size = max(abs(step_slope), abs(step_offset))
        damp = min(1.0, 1.0 / size) if size > 0 else 1.0
        slope, offset = max(slope - damp * step_slope, 0.05), offset - damp * step_offset
        if size < 1e-8:
            break
    return Calibration(slope=slope, offset=offset, rows=len(logits))


def expected_calibration_error(confidences: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (arXiv:1706.04599 eq. 3)."""
    if not confidences:
        return 0.0
    gap = 0.0
    for index in range(bins):
        inside = [
            (confidence, ok)
            for confidence, ok in zip(confidences, right, strict=True)
            if min(int(confidence * bins), bins - 1) == index
        ]
        gap += abs(sum(confidence for confidence, _ in inside) - sum(ok for _, ok in inside))
    return gap / len(confidences)


def _logit(probability: float) -> float:
    clipped = min(max(probability, _CLIP), 1 - _CLIP)
    return math.log(clipped / (1 - clipped))
