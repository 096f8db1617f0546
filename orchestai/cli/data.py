"""`collect`, `import` and `validate`: where data come from and whether they are fit."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from rich.table import Table

from orchestai.app.collection import collect_starter
from orchestai.app.places import executions_folder
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
from orchestai.contracts import ExecutionResult
from orchestai.errors import InputError
from orchestai.training.collect import CollectionItem

EXIT_REFUSED = 3
STARTER_CORPUS = Path("examples/starter/instructions.jsonl")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("collect")(collect_command)
    app.command("import")(import_command)
    app.command()(validate)


def collect_command(
    corpus: Path = typer.Option(STARTER_CORPUS, "--corpus", help="Instructions with checked plans, JSONL."),
    live: int = typer.Option(24, "--live", min=0, help="Executions on real workers."),
    rounds: int = typer.Option(3, "--rounds", min=0, help="Executions of each instruction on simulated workers."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Run many instructions and log all of them; what is logged already is not repeated."""
    project = open_project(project_dir, target)
    with progress_bar() as bar:
        task = bar.add_task("Collecting", total=None, note="")
        counts = {"accepted": 0, "run": 0}

        def on_done(_item: CollectionItem, result: ExecutionResult | None) -> None:
            if result is not None:
                counts["run"] += 1
                counts["accepted"] += result.success
            bar.update(task, advance=1, note=f"{counts['accepted']}/{counts['run']} accepted")

        real, simulated = collect_starter(project, corpus, live=live, rounds=rounds, on_done=on_done)
    if as_json:
        print_json({"live": vars(real), "simulated": vars(simulated)})
        return
    table = Table("workers", "executed", "accepted", "skipped (logged before)", box=None)
    for name, report in (("real", real), ("simulated", simulated)):
        table.add_row(name, str(report.executed), str(report.succeeded), str(report.skipped))
    out.print(table)
    for name, report in (("real", real), ("simulated", simulated)):
        if report.unplanned:
            out.print(f"[red]{report.unplanned} {name} ones could not be planned.[/]")
    out.print(plain(f"Logged in {project.paths.execution_logs}"), soft_wrap=True)


def import_command(
    kind: str = typer.Argument(..., help="ultratool, asynchow, zeroeval, llmrouter or llmperf."),
    folder: Path = typer.Argument(..., help="Folder as it is downloaded."),
    output: Path = typer.Option(..., "--out", help="Folder to write."),
    as_json: bool = JsonOption,
) -> None:
    """Turn a public data set into catalog.yml, plans.parquet and outcomes.parquet."""
    from orchestai.importers import import_dataset

    report = import_dataset(kind, folder, output)
    if as_json:
        print_json(json.loads(report.model_dump_json()))
        return
    for name, value in report.model_dump(mode="json").items():
        if value not in (None, [], {}, 0):
            out.print(plain(f"{name}: {value}"), soft_wrap=True)


def validate(
    file: Path = typer.Argument(None, help="Parquet table; the ingested executions if not given."),
    suite: str = typer.Option("execution_logs", "--suite", help="Suite of dbt_like_configs/expectations/."),
    report_file: Path = typer.Option(None, "--report", help="JSON file to write the report to."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Say whether a table is fit to train on (exit code 0 approved, 3 refused)."""
    project = open_project(project_dir, target)
    if suite not in project.expectations:
        raise InputError(f"Unknown suite {suite!r}.", remedy=f"Known: {', '.join(project.expectations)}.")
    from orchestai.validation import read_table, validate_table

    table = read_table(file if file is not None else executions_folder(project))
    with err.status("Validating"):
        report = validate_table(table, project.expectations[suite])
    if report_file is not None:
        report.save(report_file)
    if as_json:
        print_json(json.loads(report.model_dump_json()))
    else:
        rows = Table("gate", "observed", "allowed", "", box=None)
        for gate in report.gates:
            mark = "[green]passed[/]" if gate.passed else f"[red]{gate.severity}[/] {safe(gate.remedy or '')}"
            rows.add_row(plain(gate.name), plain(gate.observed), plain(gate.allowed), mark)
        out.print(rows)
        verdict = "[green]approved[/]" if report.approved else "[red]refused[/]"
        out.print(f"{verdict}: {report.rows} rows")
    if not report.approved:
        raise typer.Exit(EXIT_REFUSED)
