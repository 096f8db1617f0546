"""From scores to a decision: documented thresholds, a warning tier, and how sure the decision is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from orchestai.validation.calibrate import combined, joint_effect, score_of
from orchestai.validation.result import DimensionScore, Verdict
from orchestai.validation.settings import GateSettings


class Decision(NamedTuple):
    """The verdict, the reason in a sentence, and the confidence in percent."""

    verdict: Verdict
    reason: str
    confidence: float


def decide(
    dimensions: Mapping[str, DimensionScore],
    collapse: float | None,
    diversity: float | None,
    settings: GateSettings,
    *,
    failed: tuple[str, ...] = (),
) -> Decision:
    """Approve if collapse and diversity reach their thresholds and no critical dimension is below its own.

    What could not be measured neither approves nor rejects; but if nothing could be measured, or a stage failed, the
    table is not approved.
    """
    reasons = _reasons(dimensions, collapse, diversity, settings, failed)
    missing = [name for name, found in dimensions.items() if found.score is None]
    tail = f"; not measurable: {', '.join(missing)}" if missing else ""
    confidence = _confidence(dimensions, diversity, settings, rejected=bool(reasons)) if not failed else 0.0
    if reasons:
        return Decision("rejected", "; ".join(reasons) + tail, confidence)
    low = [name for name, found in dimensions.items() if found.status in ("warn", "critical")]
    if low:
        shown = ", ".join(f"{name} {dimensions[name].score:.0f}" for name in low)
        return Decision("warn", f"All thresholds are met, but look at {shown}{tail}", confidence)
    return Decision("approved", f"All measured dimensions are healthy{tail}", confidence)


def _reasons(
    dimensions: Mapping[str, DimensionScore],
    collapse: float | None,
    diversity: float | None,
    settings: GateSettings,
    failed: tuple[str, ...],
) -> list[str]:
    reasons = [f"stage {name} failed" for name in failed]
    for name in settings.critical_dimensions:
        found = dimensions.get(name)
        if found is not None and found.score is not None and found.score < settings.critical_threshold:
            reasons.append(f"{name} {found.score:.1f} < {settings.critical_threshold:g} ({found.reason})")
    if collapse is None:
        reasons.append("no dimension of collapse could be measured")
    elif collapse < settings.collapse_threshold:
        reasons.append(f"collapse score {collapse:.1f} < {settings.collapse_threshold:g}")
    if diversity is not None and diversity < settings.diversity_threshold:
        reasons.append(f"diversity score {diversity:.1f} < {settings.diversity_threshold:g}")
    return reasons


def _confidence(
    dimensions: Mapping[str, DimensionScore], diversity: float | None, settings: GateSettings, *, rejected: bool
) -> float:
    """Return the share of redraws with the same decision, in percent.

    A redraw adds to every statistic the spread that sampling gives it in healthy draws (a parametric bootstrap), and
    scores and decides again. What was not measured lowers the confidence of an approval in proportion.
    """
    measured = {name: found for name, found in dimensions.items() if found.score is not None}
    if not measured:
        return 100.0
    rng = np.random.default_rng([settings.seed, 77])
    same = 0
    for _ in range(settings.bootstrap_draws):
        scores = {}
        for name, found in measured.items():
            effects = [
                np.clip((r.value + r.noise * rng.standard_normal() - r.q95) / (r.worst - r.q95), 0, 1)
                for r in found.readings
            ]
            scores[name] = score_of(joint_effect([float(effect) for effect in effects]))
        whole = combined(list(scores.values()))
        critical = any(scores.get(name, 100.0) < settings.critical_threshold for name in settings.critical_dimensions)
        low = whole is not None and whole < settings.collapse_threshold
        poor = diversity is not None and diversity < settings.diversity_threshold
        same += (critical or low or poor) == rejected
    share = 100.0 * same / settings.bootstrap_draws
    return share if rejected else share * len(measured) / max(len(dimensions), 1)
