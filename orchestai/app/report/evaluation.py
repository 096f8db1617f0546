"""The evaluation report: challenger against champion and baselines, what executions were worth, how fresh it all is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestai.app.batch import load_predictor
from orchestai.app.champion import champion_checkpoint
from orchestai.app.json_files import read_json, write_json
from orchestai.app.learning import read_examples
from orchestai.app.places import phase1_folder, report_folder, training_folder
from orchestai.app.report.make import REPORT_FILE
from orchestai.app.report.measure import COMPARED, Interval, differences, intervals, written
from orchestai.app.report.render import Section, to_html, to_markdown
from orchestai.app.retraining import learned_tables
from orchestai.config import Project
from orchestai.contracts import PlanExample
from orchestai.errors import CheckpointError, DataError, StorageError
from orchestai.evaluation.business import COLUMNS, BusinessMetrics, Outcomes, business_metrics
from orchestai.logs.parquet import read_parquet

EVALUATION_FILE = "report.json"
HISTORY_FILE = "history.json"
EVALUATION_PAGE = "report.html"

_TITLE = "Evaluation"
_KEPT_VERSIONS = 200
_SHOWN_VERSIONS = 12


@dataclass(frozen=True)
class EvaluationReport:
    """What was measured and drawn.

    Attributes:
        folder: Where everything lies.
        summary: The content of `report.json`; scores in percent.
        business: What the executions were worth; None if there are none.
        history: A row a version, the oldest first.
        pictures: PNG by file name.
    """

    folder: Path
    summary: dict[str, Any]
    business: BusinessMetrics | None
    history: list[dict[str, Any]]
    pictures: dict[str, bytes]

    @property
    def sections(self) -> list[Section]:
        """What the report says, in the order in which it is read."""
        return list(_sections(self))


def evaluation_folder(project: Project) -> Path:
    """Return the folder of the evaluation report."""
    return project.paths.reports / "evaluation"


def make_evaluation(project: Project, *, now: datetime | None = None) -> EvaluationReport:
    """Compare the newest planner with the champion on the test split, add what the log says, and write the report.

    The baselines are those of the report on Phase 1: same rows, same run.

    Raises:
        DataError: There is no report on Phase 1, or the test split is empty.
        CheckpointError: The newest checkpoint cannot be used.
        StorageError: The report cannot be written.
    """
    from orchestai.checkpoint import read_manifest
    from orchestai.evaluation.evaluate import answers

    now = now or datetime.now(UTC)
    manifest = read_manifest(phase1_folder(project))
    phase1 = read_json(report_folder(project) / REPORT_FILE)
    if phase1.get("checkpoint") != manifest.digest:
        raise DataError("The report on Phase 1 is of another checkpoint.", remedy="Materialise phase1_report again.")
    examples, tasks, _ = read_examples(project, training_folder(project))
    test = [example for example in examples if example.split == "test"]
    if not test:
        raise DataError("The test split is empty.", remedy="Collect more instructions, or change `training.split`.")
    challenger, _ = load_predictor(project, tasks, phase1_folder(project))
    ours = answers(challenger, test)
    summary: dict[str, Any] = {
        "at": now.isoformat(),
        "challenger": manifest.digest,
        "data_hash": manifest.data_hash,
        "rows": len(test),
        "scores": {"challenger": intervals(test, ours)},
        "planners": phase1["planners"],
        "differences": phase1["differences"],
        "champion": None,
        "families": [],
    }
    champion = champion_checkpoint(project)
    if champion is not None and (champion_digest := read_manifest(champion).digest) != manifest.digest:
        try:
            predictor, _ = load_predictor(project, tasks, champion)
        except CheckpointError as error:  # of another encoder or version: it cannot be measured any more
            summary["champion"] = {"digest": champion_digest, "why": error.message}
        else:
            theirs = answers(predictor, test)
            summary["champion"] = {"digest": champion_digest, "why": "measured on the same rows"}
            summary["scores"]["champion"] = intervals(test, theirs)
            summary["differences"] = {"champion": differences(test, ours, theirs), **summary["differences"]}
            summary["families"] = _families(test, ours, theirs)
    elif champion is not None:
        summary["champion"] = {"digest": manifest.digest, "why": "it is the newest planner itself"}
    business = business_metrics(_executions(project), project.workers)
    summary["business"] = business.model_dump(mode="json") if business else None
    summary["freshness"] = _freshness(project, now)
    folder = evaluation_folder(project)
    history = _history(folder, summary)
    report = EvaluationReport(folder, summary, business, history, _draw(history, business))
    _write(report)
    return report


def evaluation_markdown(report: EvaluationReport) -> str:
    """Return the report as Markdown without its pictures."""
    return to_markdown(_TITLE, report.sections, pictures=False)


def _families(test: Sequence[PlanExample], ours: Sequence[Any], theirs: Sequence[Any]) -> list[dict[str, Any]]:
    from orchestai.evaluation.families import FAMILIES, by_family

    rows = []
    for family in FAMILIES:
        for member, places in by_family(test, family).items():
            if family == "template" and len(places) < 2:
                continue
            part = [test[place] for place in places]
            found = differences(part, [ours[place] for place in places], [theirs[place] for place in places])
            rows.append({"family": family, "member": member, "n": len(part), **found})
    return rows


def _executions(project: Project) -> Iterator[dict[str, Any]]:
    for path in learned_tables(project):
        table = read_parquet(path, COLUMNS)
        for batch in table.to_batches(max_chunksize=5000):
            yield from batch.to_pylist()


def _freshness(project: Project, now: datetime) -> dict[str, float | None]:
    """Return the age in hours of the newest execution, the training data and the planner."""
    newest = None
    if tables := learned_tables(project):
        import pyarrow.compute as pc

        newest = pc.max(read_parquet(tables[-1], ["timestamp"])["timestamp"]).as_py()
    places = {
        "training_data": training_folder(project) / "training_data.json",
        "planner": phase1_folder(project) / "manifest.json",
    }
    ages = {name: _age(path, now) for name, path in places.items()}
    return {"newest_execution": (now - newest).total_seconds() / 3600 if newest else None, **ages}


def _age(path: Path, now: datetime) -> float | None:
    return (now.timestamp() - path.stat().st_mtime) / 3600 if path.exists() else None


def _history(folder: Path, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the versions so far with this one at the end; one that was reported on before moves there."""
    try:
        known = [row for row in read_json(folder / HISTORY_FILE) if isinstance(row, dict)]
    except DataError:
        known = []
    row = {
        "version": summary["challenger"],
        "at": summary["at"],
        "data_hash": summary["data_hash"],
        "rows": summary["rows"],
        "scores": summary["scores"]["challenger"],
        "executions": summary["business"]["total"] if summary["business"] else None,
    }
    return [*(old for old in known if old.get("version") != row["version"]), row][-_KEPT_VERSIONS:]


def _draw(history: Sequence[Mapping[str, Any]], business: BusinessMetrics | None) -> dict[str, bytes]:
    from orchestai.evaluation.history_plots import outcomes_over_days, scores_over_versions

    shown = history[-_SHOWN_VERSIONS:]
    names = [f"{row['version'][:8]}" for row in shown]
    pictures = {
        "history.png": scores_over_versions(names, {key: [row["scores"][key] for row in shown] for key in COMPARED})
    }
    if business is not None:
        pictures["days.png"] = outcomes_over_days({"all": business.by_day[-30:]})
    return pictures


def _write(report: EvaluationReport) -> None:
    page = to_html(_TITLE, report.sections, report.pictures)
    try:
        report.folder.mkdir(parents=True, exist_ok=True)
        for name, png in report.pictures.items():
            (report.folder / name).write_bytes(png)
        (report.folder / EVALUATION_PAGE).write_text(page, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"The report cannot be written: {error}.", path=str(report.folder), remedy="Check the disk."
        ) from error
    write_json(report.folder / HISTORY_FILE, report.history)
    write_json(report.folder / EVALUATION_FILE, report.summary)


def _sections(report: EvaluationReport) -> Iterator[Section]:
    summary = report.summary
    champion = summary["champion"]
    about = (
        "There is no champion yet." if champion is None else f"Champion {champion['digest'][:12]}: {champion['why']}."
    )
    yield Section(
        "Challenger and champion",
        f"Challenger {summary['challenger'][:12]}, {summary['rows']} test rows; percent, 95 % intervals. {about}",
        [{"planner": name, **_row(scores)} for name, scores in summary["scores"].items()],
    )
    yield Section(
        "Challenger minus each other planner",
        "Percentage points on the same rows; an interval that does not hold 0 is a difference.",
        [{"planner": name, **_row(row, signed=True)} for name, row in summary["differences"].items()],
    )
    if summary["families"]:
        yield Section(
            "Challenger minus champion, by family",
            "",
            [
                {"family": row["family"], "member": row["member"], "n": str(row["n"]), **_row(row, signed=True)}
                for row in summary["families"]
            ],
        )
    if report.business is not None:
        yield from _business_sections(report.business)
    yield Section("Versions", "Each on the test rows of its own day.", pictures=("history.png",))
    ages = [
        {"what": name.replace("_", " "), "age in hours": "unknown" if age is None else f"{age:.1f}"}
        for name, age in summary["freshness"].items()
    ]
    yield Section("Freshness", "", ages)


def _business_sections(business: BusinessMetrics) -> Iterator[Section]:
    single = business.best_single
    text = "No worker did enough executions alone to be compared with."
    if single is not None:
        text = (
            f"The best single worker is {single.worker}: {100 * single.success:.1f} % of the {single.executions} "
            f"executions that it did alone were accepted. At its prices all executions, with their own tokens, would "
            f"have cost {single.cost_usd:.4f} dollars; they cost {single.actual_usd:.4f}: "
            f"{100 * single.saved:.1f} % saved."
        )
    rows = [_outcome(row) for row in (business.total, *business.by_model)]
    yield Section("What executions were worth", text, rows)
    yield Section("By day", "", [_outcome(row) for row in business.by_day[-30:]], ("days.png",))


def _outcome(row: Outcomes) -> dict[str, str]:
    success = {"mean": 100 * row.success, "low": 100 * row.success_low, "high": 100 * row.success_high}
    return {
        "executions of": row.name,
        "executions": str(row.executions),
        "accepted, percent": written(success),
        "dollars each": f"{row.cost_usd:.6f}",
        "p50 ms": f"{row.latency_p50_ms:.0f}",
        "p95 ms": f"{row.latency_p95_ms:.0f}",
    }


def _row(row: Mapping[str, Interval], *, signed: bool = False) -> dict[str, str]:
    return {key.replace("_", " "): written(row[key], signed=signed) for key in COMPARED}
