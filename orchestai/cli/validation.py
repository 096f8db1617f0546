"""`validate`: whether a table is fit to train on, by its declared suite or by the six-stage gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from orchestai.app.places import executions_folder, related_values
from orchestai.cli.console import (
    JsonOption,
    ProjectOption,
    TargetOption,
    err,
    open_project,
    out,
    plain,
    print_json,
    safe,
)
from orchestai.cli.progress import progress_bar
from orchestai.errors import InputError

if TYPE_CHECKING:
    from orchestai.validation.result import ValidationResult

EXIT_REFUSED = 3
EXIT_PARTIAL = 4
_SUITE = "execution_logs"
_SHOWN_ROWS = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(validate)


def validate(
    file: Path = typer.Argument(None, help="Table to judge; the ingested executions if not given."),
    format_: str = typer.Option(None, "--format", help="Format of the file, if its content does not tell."),
    reference: Path = typer.Option(None, "--reference", help="Healthy data that it should be like."),
    holdout: Path = typer.Option(None, "--holdout", help="Rows like the reference that nothing was trained on."),
    label: str = typer.Option(None, "--label", help="Column that a model would predict."),
    time_ordered: bool = typer.Option(False, "--time-ordered", help="Compare later rows with earlier ones."),
    config: Path = typer.Option(None, "--config", help="YAML with thresholds, critical dimensions, prices."),
    suite: str = typer.Option(None, "--suite", help="Suite of dbt_like_configs/expectations/ instead of the gate."),
    report_file: Path = typer.Option(None, "--report", help="JSON file to write the report to."),
    html_file: Path = typer.Option(None, "--html", help="Page to write the report to."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Say whether a table is fit to train on (exit code 0 approved, 3 rejected, 4 partial, 2 bad input).

    A file passes the six-stage gate. With --suite, or without a file, a declared suite is run.
    """
    gate_only = {
        "--format": format_,
        "--reference": reference,
        "--holdout": holdout,
        "--label": label,
        "--time-ordered": time_ordered or None,
        "--config": config,
        "--html": html_file,
    }
    if file is None or suite is not None:
        given = [name for name, value in gate_only.items() if value is not None]
        if given:
            raise InputError(f"{', '.join(given)} belong to the gate.", remedy="Give a file and no --suite.")
        _run_suite(file, suite or _SUITE, report_file, as_json, project_dir, target)
        return
    if reference is not None and time_ordered:
        raise InputError("--reference and --time-ordered both name a reference.", remedy="Give one of them.")
    from orchestai.validation.gate import DatasetValidator, GateSettings

    settings = GateSettings.from_file(config) if config is not None else GateSettings()
    validator = DatasetValidator(
        settings.collapse_threshold, settings.diversity_threshold, settings=settings, use_cache=False
    )
    with progress_bar() as bar:
        task = bar.add_task("Validating", total=6, note="")

        def on_stage(name: str, place: int, _count: int) -> None:
            bar.update(task, completed=max(place, int(bar.tasks[0].completed)), note=name)

        result = validator.validate_sync(
            file,
            format_,
            reference=reference,
            holdout=holdout,
            label=label,
            order="time" if time_ordered else None,
            on_stage=on_stage,
        )
        bar.update(task, completed=6, note="")
    for path in (report_file, html_file):
        if path is not None:
            result.save_report(path if path is not html_file else path.with_suffix(".html"))
    if as_json:
        print_json(json.loads(result.model_dump_json()))
    else:
        _show(result)
    if result.partial:
        raise typer.Exit(EXIT_PARTIAL)
    if not result.approved_for_training:
        raise typer.Exit(EXIT_REFUSED)


def _show(result: ValidationResult) -> None:
    """Print what a person needs first."""
    rows = Table("dimension", "score", "", box=None)
    for name, found in result.dimensions.items():
        colour = {"ok": "green", "warn": "yellow", "critical": "red"}.get(found.status, "dim")
        score = "not measurable" if found.score is None else f"{found.score:.1f}"
        rows.add_row(name, f"[{colour}]{score}[/]", safe(found.reason))
    out.print(rows)
    for fix in result.recommendations:
        gain = f"+{fix.estimated_impact:.1f} points" if fix.measured else "gain not measured"
        out.print(
            plain(f"{fix.priority}: {fix.title} ({fix.rows:,} rows, {gain}, ${fix.cost_usd:,.2f})"), soft_wrap=True
        )
    if result.problematic_rows:
        shown = ", ".join(map(str, result.problematic_rows[:_SHOWN_ROWS]))
        more = len(result.problematic_rows) - _SHOWN_ROWS
        out.print(plain(f"rows to look at: {shown}{f' and {more} more' if more > 0 else ''}"), soft_wrap=True)
    for note in result.warnings:
        out.print(plain(f"note: {note}"), soft_wrap=True)
    for error in result.errors:
        out.print(f"[red]stage {error.stage} failed:[/] {safe(error.message)}", soft_wrap=True)
    colour = {"approved": "green", "warn": "yellow", "rejected": "red"}[result.verdict]
    scores = f"collapse {_number(result.collapse_score)}, diversity {_number(result.diversity_score)}"
    out.print(f"[{colour}]{result.verdict}[/]: {result.rows:,} rows, {scores}, confidence {result.confidence:.0f} %")
    out.print(plain(result.reason), soft_wrap=True)


def _number(value: float | None) -> str:
    return "not measurable" if value is None else f"{value:.1f}"


def _run_suite(
    file: Path | None, suite: str, report_file: Path | None, as_json: bool, project_dir: Path, target: str
) -> None:
    project = open_project(project_dir, target)
    if suite not in project.expectations:
        raise InputError(f"Unknown suite {suite!r}.", remedy=f"Known: {', '.join(project.expectations)}.")
    from orchestai.validation import read_table, validate_table

    table = read_table(file if file is not None else executions_folder(project))
    with err.status("Validating"):
        report = validate_table(table, project.expectations[suite], related=related_values(project))
    if report_file is not None:
        report.save(report_file)
    if as_json:
        print_json(json.loads(report.model_dump_json()))
    else:
        rows: Any = Table("gate", "observed", "allowed", "", box=None)
        for gate in report.gates:
            mark = "[green]passed[/]" if gate.passed else f"[red]{gate.severity}[/] {safe(gate.remedy or '')}"
            rows.add_row(plain(gate.name), plain(gate.observed), plain(gate.allowed), mark)
        out.print(rows)
        verdict = "[green]approved[/]" if report.approved else "[red]refused[/]"
        out.print(f"{verdict}: {report.rows} rows")
    if not report.approved:
        raise typer.Exit(EXIT_REFUSED)
