"""What the trained planner is worth."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from orchestai.app.report import PAGE_FILE, REPORT_FILE, make_report, markdown
from orchestai_assets import keys
from orchestai_assets.io import file_hash, picture, records
from resources.orchestai_resource import OrchestAIResource

SHOWN = ("node_f1", "link_f1", "edge_f1_non_chain", "exact", "dag_validity", "ms_per_plan_p50")


@dg.asset(
    key=keys.PHASE1_REPORT,
    deps=[keys.PHASE1_CHECKPOINT, keys.TRAINING_DATA],
    description="The Phase 1 planner by split and family, against simple planners and the model before it; in percent.",
    group_name=keys.PLANNER,
    kinds={"markdown", "json"},
    owners=keys.OWNERS,
    code_version="1",
)
def phase1_report(orchestai: OrchestAIResource) -> dg.MaterializeResult[None]:
    """Measure, draw and write the report."""
    report = make_report(orchestai.project)
    planners, splits = report.summary["planners"], report.summary["splits"]
    path = report.folder / REPORT_FILE
    return dg.MaterializeResult(
        metadata={
            "planners": records(_scores("planner", planners)),
            "by_split": records(_scores("split", splits)),
            "node_f1_learned": round(planners["learned"]["node_f1"], 1),
            "node_f1_rules": round(planners["rules"]["node_f1"], 1),
            "dag_validity": planners["learned"]["dag_validity"],
            "examples": records(report.examples),
            "path": dg.MetadataValue.path(path),
            "report": dg.MetadataValue.md(markdown(report, with_pictures=False)),
            "page": dg.MetadataValue.path(report.folder / PAGE_FILE),
            **{name.removesuffix(".png"): picture(png, name) for name, png in report.pictures.items()},
        },
        data_version=dg.DataVersion(file_hash(path)),
    )


def _scores(first: str, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what a person compares; `report.json` has every measure in full."""
    for name, row in rows.items():
        shown = {column: row[column] for column in SHOWN if row.get(column) is not None}
        yield {first: name, **{column: round(value, 1) for column, value in shown.items()}}
