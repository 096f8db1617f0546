"""The report on Phase 1: measures the planner and its baselines, draws, and writes it all into one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestai.app.json_files import write_json
from orchestai.app.learning import predictors, read_examples
from orchestai.app.places import phase1_folder, report_folder, training_folder
from orchestai.config import Project
from orchestai.contracts import PlanExample, PlanPrediction, Split
from orchestai.errors import DataError

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
COMPARED = ("node_f1", "link_f1", "edge_f1", "exact")
REPORT_FILE = "report.json"

_SCORES = ("node_f1", "link_f1", "edge_f1", "exact", "decomposition_accuracy")
_PICTURED = 2
_LISTED = 8


@dataclass(frozen=True)
class Phase1Report:
    """What was measured and drawn.

    Attributes:
        folder: Where everything lies.
        summary: The content of `report.json`; scores in percent.
        examples: Rows with the gold and the predicted plan of test instructions.
        pictures: PNG by file name.
    """

    folder: Path
    summary: dict[str, Any]
    examples: list[dict[str, str]]
    pictures: dict[str, bytes]


def make_report(project: Project) -> Phase1Report:
    """Measure the checkpoint on every split and against its baselines on the test split, and write the report.

    Raises:
        DataError: There are no training data, or their test split is empty.
        CheckpointError: The checkpoint cannot be used.
    """
    from orchestai.checkpoint import read_manifest
    from orchestai.evaluation.evaluate import answers, measure, ms_per_plan

    examples, tasks, _ = read_examples(project, training_folder(project))
    by_split = {name: [example for example in examples if example.split == name] for name in SPLITS}
    test = by_split["test"]
    if not test:
        raise DataError("The test split is empty.", remedy="Collect more instructions, or change `training.split`.")
    found = predictors(project, examples, tasks=tasks, checkpoint=phase1_folder(project))
    predictions = {name: answers(predictor, test) for name, predictor in found.items()}
    planners = {
        name: {
            **measure(test, predicted, tasks),
            "ms_per_plan_p50": ms_per_plan(found[name], test),
        }
        for name, predicted in predictions.items()
    }
    splits = {name: measure(rows, answers(found["learned"], rows), tasks) for name, rows in by_split.items() if rows}
    manifest = read_manifest(phase1_folder(project))
    history = manifest.history
    summary = {
        "rows": len(examples),
        "splits": splits,
        "planners": planners,
        "loss_first": history[0]["train_loss"],
        "loss_last": history[-1]["train_loss"],
        "checkpoint": manifest.digest,
        "data_hash": manifest.data_hash,
        "seed": manifest.seed,
    }
    learned = predictions["learned"]
    report = Phase1Report(
        folder=report_folder(project),
        summary=summary,
        examples=[_listed(gold, predicted) for gold, predicted in zip(test, learned, strict=True)][:_LISTED],
        pictures=_draw(history, test, predictions, planners, tasks.names),
    )
    _write(report)
    return report


def describe_plan(plan: PlanExample | PlanPrediction | None) -> str:
    """Return a plan in one line: `audio_transcription; summarization(0); translation(1)`."""
    if plan is None:
        return "no plan"
    parts = zip(plan.task_types, plan.dependencies, strict=True)
    return "; ".join(f"{name}({', '.join(map(str, parents))})" if parents else name for name, parents in parts)


def markdown(report: Phase1Report) -> str:
    """Return the report as Markdown, its pictures as links to the files beside it."""
    summary = report.summary
    lines = [
        "# Phase 1",
        "",
        f"{summary['rows']} rows; training loss {summary['loss_first']:.3f} to {summary['loss_last']:.3f}. "
        "Scores in percent.",
        "",
        "## Planners on the test split",
        "",
        *_score_table("planner", summary["planners"]),
        "",
        "## The learned planner by split",
        "",
        *_score_table("split", summary["splits"]),
        "",
        "## Test instructions",
        "",
        "| instruction | gold | predicted | exact |",
        "|---|---|---|---|",
        *("| " + " | ".join(value.replace("|", "\\|") for value in row.values()) + " |" for row in report.examples),
        "",
        *(f"![{name}]({name})" for name in report.pictures),
        "",
    ]
    return "\n".join(lines)


def _score_table(first: str, scores: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    columns = ("n", *_SCORES, "edge_f1_non_chain", "dag_validity", "ece")
    present = [name for name in columns if any(name in row for row in scores.values())]
    header = f"| {first} | " + " | ".join(name.replace("_", " ") for name in present) + " |"
    rows = [
        f"| {name} | "
        + " | ".join("" if row.get(column) is None else f"{row[column]:.4g}" for column in present)
        + " |"
        for name, row in scores.items()
    ]
    return [header, "|" + "---|" * (len(present) + 1), *rows]


def _listed(gold: PlanExample, predicted: PlanPrediction | None) -> dict[str, str]:
    return {
        "instruction": " ".join(gold.instruction.split())[:160],
        "gold": describe_plan(gold),
        "predicted": describe_plan(predicted),
        "exact": "yes" if _equal(gold, predicted) else "no",
    }


def _equal(gold: PlanExample, predicted: PlanPrediction | None) -> bool:
    from orchestai.evaluation.metrics import exact

    return exact([gold], [predicted]) == 1.0


def _draw(
    history: Sequence[Mapping[str, Any]],
    test: Sequence[PlanExample],
    predictions: Mapping[str, Sequence[PlanPrediction | None]],
    planners: Mapping[str, Mapping[str, float | None]],
    labels: Sequence[str],
) -> dict[str, bytes]:
    from orchestai.evaluation.confusion import confusion
    from orchestai.evaluation.plots import (
        calibration_plot,
        comparison_plot,
        confusion_plot,
        loss_curves,
        plan_pair,
    )

    learned = predictions["learned"]
    curves = {
        "training": [row["train_loss"] for row in history],
        "validation": [row["validation_loss"] for row in history],
    }
    ratios = {name: {key: (row[key] or 0.0) / 100 for key in COMPARED} for name, row in planners.items()}
    right = [float(_equal(gold, predicted)) for gold, predicted in zip(test, learned, strict=True)]
    confidences = [predicted.confidence if predicted is not None else 0.0 for predicted in learned]
    # The largest plans say most, so they are the ones to look at.
    largest = sorted(range(len(test)), key=lambda row: (-len(test[row].task_types), test[row].id))
    pairs = {
        f"plan_{number}.png": plan_pair(test[row], predicted, title=" ".join(test[row].instruction.split()))
        for number, row in enumerate(largest[:_PICTURED], start=1)
        if (predicted := learned[row]) is not None
    }
    return {
        "loss.png": loss_curves(curves),
        "comparison.png": comparison_plot(ratios, COMPARED),
        "confusion.png": confusion_plot(confusion(test, learned, labels)),
        "calibration.png": calibration_plot(confidences, right),
        **pairs,
    }


def _write(report: Phase1Report) -> None:
    report.folder.mkdir(parents=True, exist_ok=True)
    for name, png in report.pictures.items():
        (report.folder / name).write_bytes(png)
    (report.folder / "report.md").write_text(markdown(report), encoding="utf-8")
    # Last, because others take its presence for that of the whole report.
    write_json(report.folder / REPORT_FILE, report.summary)
