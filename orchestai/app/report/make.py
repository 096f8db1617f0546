"""Measures the planner and its baselines, draws, and writes it all into one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestai.app.json_files import write_json
from orchestai.app.learning import predictors, read_examples
from orchestai.app.places import execution_tables, phase1_folder, report_folder, training_folder
from orchestai.app.report import fallback
from orchestai.app.report.examples import LISTED, equal, listed, pictures, worst
from orchestai.app.report.measure import COMPARED, Predictions, differences, families, intervals
from orchestai.app.report.previous import compare_previous, read_old
from orchestai.app.report.render import Section, to_html, to_markdown
from orchestai.app.report.sections import sections
from orchestai.config import Project
from orchestai.contracts import PlanExample, Split
from orchestai.errors import DataError, StorageError

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
REPORT_FILE = "report.json"
MARKDOWN_FILE = "report.md"
PAGE_FILE = "report.html"

_TITLE = "Phase 1"


@dataclass(frozen=True)
class Phase1Report:
    """What was measured and drawn.

    Attributes:
        folder: Where everything lies.
        summary: The content of `report.json`; scores in percent.
        examples: The worst plans of test instructions, with the gold ones.
        pictures: PNG by file name.
    """

    folder: Path
    summary: dict[str, Any]
    examples: list[dict[str, str]]
    pictures: dict[str, bytes]

    @property
    def sections(self) -> list[Section]:
        """What the report says, in the order in which it is read."""
        return sections(self.summary, self.examples, self.pictures)


def make_report(project: Project) -> Phase1Report:
    """Measure the checkpoint on every split and against its baselines on the test split, and write the report.

    Raises:
        DataError: There are no training data, or their test split is empty.
        CheckpointError: The checkpoint cannot be used.
        StorageError: The report cannot be written.
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
    planned = {
        name: predictions["learned"] if name == "test" else answers(found["learned"], rows)
        for name, rows in by_split.items()
        if rows
    }
    planners = {
        name: {**measure(test, predicted, tasks), "ms_per_plan_p50": ms_per_plan(found[name], test)}
        for name, predicted in predictions.items()
    }
    learned, rules = predictions["learned"], predictions["rules"]
    threshold = project.planner.confidence_threshold
    manifest = read_manifest(phase1_folder(project))
    history = manifest.history
    folder = report_folder(project)
    summary = {
        "rows": len(examples),
        "splits": {name: measure(by_split[name], predicted, tasks) for name, predicted in planned.items()},
        "planners": planners,
        "intervals": {
            "planners": {name: intervals(test, predicted) for name, predicted in predictions.items()},
            "splits": {name: intervals(by_split[name], predicted) for name, predicted in planned.items()},
        },
        "differences": {
            name: differences(test, learned, predicted) for name, predicted in predictions.items() if name != "learned"
        },
        "families": families(test, learned),
        "previous": compare_previous(
            project, test, learned, tasks, checkpoint=manifest.digest, old=read_old(folder / REPORT_FILE)
        ),
        "fallback": {
            "log": fallback.in_the_log(execution_tables(project)),
            "test": fallback.on_test_rows(test, learned, rules, threshold),
        },
        "loss_first": history[0]["train_loss"],
        "loss_last": history[-1]["train_loss"],
        "checkpoint": manifest.digest,
        "data_hash": manifest.data_hash,
        "seed": manifest.seed,
    }
    order = worst(test, learned)
    report = Phase1Report(
        folder=folder,
        summary=summary,
        examples=[listed(test[place], learned[place]) for place in order[:LISTED]],
        pictures={
            **_draw(history, test, predictions, planners, tasks.names),
            "fallback.png": fallback.picture(test, learned, rules, threshold),
            **pictures(test, learned, order),
        },
    )
    _write(report)
    return report


def markdown(report: Phase1Report, *, with_pictures: bool = True) -> str:
    """Return the report as Markdown, its pictures as links to the files beside it."""
    return to_markdown(_TITLE, report.sections, pictures=with_pictures)


def _draw(
    history: Sequence[Mapping[str, Any]],
    test: Sequence[PlanExample],
    predictions: Mapping[str, Predictions],
    planners: Mapping[str, Mapping[str, float | None]],
    labels: Sequence[str],
) -> dict[str, bytes]:
    from orchestai.app.recorded import curves
    from orchestai.evaluation.confusion import confusion
    from orchestai.evaluation.plots import calibration_plot, comparison_plot, confusion_plot, loss_curves

    learned = predictions["learned"]
    ratios = {name: {key: (row[key] or 0.0) / 100 for key in COMPARED} for name, row in planners.items()}
    right = [float(equal(gold, predicted)) for gold, predicted in zip(test, learned, strict=True)]
    confidences = [predicted.confidence if predicted is not None else 0.0 for predicted in learned]
    return {
        "loss.png": loss_curves(curves(history)),
        "comparison.png": comparison_plot(ratios, COMPARED),
        "confusion.png": confusion_plot(confusion(test, learned, labels)),
        "calibration.png": calibration_plot(confidences, right),
    }


def _write(report: Phase1Report) -> None:
    try:
        report.folder.mkdir(parents=True, exist_ok=True)
        for old in report.folder.glob("plan_*.png"):
            old.unlink()
        for name, png in report.pictures.items():
            (report.folder / name).write_bytes(png)
        (report.folder / MARKDOWN_FILE).write_text(markdown(report), encoding="utf-8")
        (report.folder / PAGE_FILE).write_text(to_html(_TITLE, report.sections, report.pictures), encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"The report cannot be written: {error}.", path=str(report.folder), remedy="Check the disk."
        ) from error
    # Last, because others take its presence for that of the whole report.
    write_json(report.folder / REPORT_FILE, report.summary)
