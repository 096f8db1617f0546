"""`collect` and `import`: where data come from."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from rich.table import Table

from orchestai.app.collection import collect_starter
from orchestai.cli.console import (
    JsonOption,
    ProjectOption,
    TargetOption,
    open_project,
    out,
    plain,
    print_json,
)
from orchestai.cli.progress import progress_bar
from orchestai.contracts import ExecutionResult
from orchestai.training.collect import CollectionItem

STARTER_CORPUS = Path("examples/starter/instructions.jsonl")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("collect")(collect_command)
    app.command("import")(import_command)


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
