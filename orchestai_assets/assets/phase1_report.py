"""What the trained planner is worth."""

import dagster as dg

from orchestai_assets import keys
from orchestai_assets.io import file_hash, picture, records
from orchestai_assets.report import REPORT_FILE, make_report
from resources.orchestai_resource import OrchestAIResource


@dg.asset(
    key=keys.PHASE1_REPORT,
    deps=[keys.PHASE1_CHECKPOINT, keys.TRAINING_DATA],
    description="The Phase 1 planner by split and against rules, 1-NN plan copy and kernel ridge; scores in percent.",
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
            "planners": records({"planner": name, **row} for name, row in planners.items()),
            "by_split": records({"split": name, **row} for name, row in splits.items()),
            "node_f1_learned": planners["learned"]["node_f1"],
            "node_f1_rules": planners["rules"]["node_f1"],
            "dag_validity": planners["learned"]["dag_validity"],
            "examples": records(report.examples),
            "path": dg.MetadataValue.path(path),
            "report": dg.MetadataValue.path(report.folder / "report.md"),
            **{name.removesuffix(".png"): picture(png, name) for name, png in report.pictures.items()},
        },
        data_version=dg.DataVersion(file_hash(path)),
    )
