"""A result of the six-stage gate as Dagster shows it: tables, a plot, links, and two checks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestai_assets.io import picture, records
from orchestai_assets.plots import dimension_bars

if TYPE_CHECKING:
    from orchestai.validation.result import ValidationResult

_SHOWN_ROWS = 20


def verdict_specs(
    asset: dg.AssetKey, name: str, description: str, needs: Sequence[dg.AssetKey] = ()
) -> list[dg.AssetCheckSpec]:
    """Return the blocking check that refuses, and the one that only warns.

    They are two because automation waits for every blocking check to pass, and a warning must not hold it up.

    Args:
        asset: What they are about.
        name: Name of the first.
        description: What it says.
        needs: Other assets that are read.
    """
    return [
        dg.AssetCheckSpec(name, asset=asset, blocking=True, description=description, additional_deps=needs),
        dg.AssetCheckSpec(
            f"{name}_warnings",
            asset=asset,
            description="Approved, but a dimension is low: worth a look.",
            additional_deps=needs,
        ),
    ]


def verdict_results(
    asset: dg.AssetKey, name: str, result: "ValidationResult", page: Path | None
) -> Iterator[dg.AssetCheckResult]:
    """Return the results of the two checks of `verdict_specs`."""
    refused = not result.approved_for_training
    yield dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=not refused,
        severity=dg.AssetCheckSeverity.ERROR,
        description=result.reason,
        metadata=verdict_metadata(result, page),
    )
    yield dg.AssetCheckResult(
        asset_key=asset,
        check_name=f"{name}_warnings",
        passed=result.verdict != "warn",
        severity=dg.AssetCheckSeverity.WARN,
        description=result.reason if result.verdict == "warn" else "Nothing to warn of.",
        metadata={"notes": records({"note": note} for note in result.warnings)},
    )


def verdict_metadata(result: "ValidationResult", page: Path | None) -> dict[str, Any]:
    """Return scores, dimensions, problem rows, what to do, a plot, and links to the report."""
    found = result.localization
    rows = zip(found.problematic_indices, found.scores, found.reasons, strict=True) if found is not None else ()
    metadata: dict[str, Any] = {
        "verdict": result.verdict,
        "reason": result.reason,
        "gate": "six stages",
        "observed": f"collapse {_number(result.collapse_score)}, diversity {_number(result.diversity_score)}",
        "confidence": result.confidence,
        "dimensions": dimension_records(result),
        "problem_rows": records(
            {"row": row, "strength": strength, "named_by": ", ".join(reasons)}
            for (row, strength, reasons), _ in zip(rows, range(_SHOWN_ROWS), strict=False)
        ),
        "problem_row_count": found.total if found is not None else 0,
        "recommendations": records(
            {
                "priority": fix.priority,
                "fix": fix.title,
                "rows": fix.rows,
                "points": fix.estimated_impact if fix.measured else None,
                "cost_usd": fix.cost_usd,
            }
            for fix in result.recommendations
        ),
        "scores": picture(verdict_plot(result), "score by dimension"),
        "rows": result.rows,
        "seconds": round(result.total_time_seconds, 2),
        "rows_per_second": round(result.rows_per_second),
        "partial": result.partial,
        "from_cache": result.from_cache,
    }
    for name in ("collapse_score", "diversity_score", "projected_score"):
        value = getattr(result, name)
        metadata[name] = round(value, 2) if value is not None else "not measurable"
    if page is not None:
        metadata |= {"report": dg.MetadataValue.path(page), "json": dg.MetadataValue.path(page.with_suffix(".json"))}
    if result.errors:
        metadata["failed_stages"] = records({"stage": e.stage, "error": e.message} for e in result.errors)
    return metadata


def dimension_records(result: "ValidationResult") -> dg.MetadataValue:
    """Return the eight dimensions as a table."""
    return records(
        {
            "dimension": name,
            "score": None if found.score is None else round(found.score, 1),
            "status": found.status,
            "why": found.reason,
        }
        for name, found in result.dimensions.items()
    )


def verdict_plot(result: "ValidationResult") -> bytes:
    """Draw the dimensions as PNG."""
    return dimension_bars({name: found.score for name, found in result.dimensions.items()})


def _number(value: float | None) -> str:
    return "not measurable" if value is None else f"{value:.1f}"
