"""Does a table gain what a recommendation promises? Follow it, score again, compare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bench.corruptions import Corruption
from orchestai.validation.gate import DatasetValidator, GateSettings, ReferenceProfile, ValidationResult, judge

LEVELS = (0.05, 0.2)
_LOCATOR = {"drop_repeated": "repeated", "drop_copied": "copied", "drop_outliers": "outlier", "review_labels": "label"}


def named_by(result: ValidationResult, locator: str) -> list[int]:
    """Return the rows that a locator names."""
    found = result.localization
    assert found is not None
    return [row for row, why in zip(found.problematic_indices, found.reasons, strict=True) if locator in why]


def promises(
    profile: ReferenceProfile,
    candidate: pd.DataFrame,
    kinds: dict[str, Corruption],
    settings: GateSettings,
    seed: int,
) -> dict[str, Any]:
    """Spoil a table, follow each recommendation that names rows, and score the table without them.

    What asks for new rows cannot be followed here: only rows of the origin could show it.
    """
    gate = DatasetValidator(use_cache=False, settings=settings.model_copy(update={"max_problem_rows": len(candidate)}))
    found: list[dict[str, Any]] = []
    for kind, apply in kinds.items():
        for place, level in enumerate(LEVELS):
            table = apply(candidate, level, np.random.default_rng([seed, 4, place])).reset_index(drop=True)
            result = gate.validate_sync(table, reference=profile)
            for each in result.recommendations:
                if not each.measured or each.projected_score is None or each.action not in _LOCATOR:
                    continue
                rows = named_by(result, _LOCATOR[each.action])
                truth = judge(profile, table.drop(index=rows), settings).collapse
                if truth is None or len(rows) != each.rows:
                    continue
                found.append(
                    {
                        "kind": kind,
                        "level": level,
                        "action": each.action,
                        "before": result.collapse_score,
                        "promised": each.projected_score,
                        "found": truth,
                    }
                )
    errors = [abs(each["promised"] - each["found"]) for each in found]
    return {
        "promises": len(found),
        "mean_error": float(np.mean(errors)) if errors else None,
        "p90_error": float(np.quantile(errors, 0.9)) if errors else None,
        "largest_error": max(errors, default=None),
        "share_within_3": float(np.mean(np.array(errors) <= 3)) if errors else None,
        "each": found,
    }
