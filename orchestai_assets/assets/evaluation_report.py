"""What the newest planner is worth beside the champion, and what executions were worth."""

from typing import Any

import dagster as dg

from orchestai.app.report.evaluation import (
    EVALUATION_FILE,
    EVALUATION_PAGE,
    EvaluationReport,
    evaluation_markdown,
    make_evaluation,
)
from orchestai_assets import keys
from orchestai_assets.io import file_hash, picture, records
from resources.orchestai_resource import OrchestAIResource


@dg.asset(
    key=keys.EVALUATION_REPORT,
    deps=[keys.PHASE1_REPORT],
    description="Challenger against champion and baselines by family; success, time and cost of executions; freshness.",
    group_name=keys.RELEASE,
    kinds={"html", "json"},
    owners=keys.OWNERS,
    code_version="1",
    automation_condition=dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed(),
)
def evaluation_report(orchestai: OrchestAIResource) -> dg.MaterializeResult[None]:
    """Measure, draw and write the report."""
    report = make_evaluation(orchestai.project)
    path = report.folder / EVALUATION_FILE
    return dg.MaterializeResult(
        metadata={
            "challenger": report.summary["challenger"],
            "report": dg.MetadataValue.md(evaluation_markdown(report)),
            "path": dg.MetadataValue.path(path),
            "page": dg.MetadataValue.path(report.folder / EVALUATION_PAGE),
            "versions": len(report.history),
            **_figures(report),
            **{name.removesuffix(".png"): picture(png, name) for name, png in report.pictures.items()},
        },
        data_version=dg.DataVersion(file_hash(path)),
    )


def _figures(report: EvaluationReport) -> dict[str, Any]:
    """Return the numbers that the UI plots over materializations."""
    summary = report.summary
    found: dict[str, Any] = {"node_f1_challenger": round(summary["scores"]["challenger"]["node_f1"]["mean"], 2)}
    if "champion" in summary["scores"]:
        found["node_f1_champion"] = round(summary["scores"]["champion"]["node_f1"]["mean"], 2)
    if report.business is not None:
        found["success_rate"] = report.business.total.success
        found["cost_usd_per_execution"] = report.business.total.cost_usd
        found["latency_p95_ms"] = report.business.total.latency_p95_ms
        found["days"] = records(day.model_dump() for day in report.business.by_day[-30:])
        if report.business.best_single is not None:
            found["saved_against_best_single"] = report.business.best_single.saved
    ages = {f"hours_{name}": age for name, age in summary["freshness"].items() if age is not None}
    return {**found, **ages}
