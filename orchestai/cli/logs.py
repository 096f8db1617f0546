"""`logs`: list, show, replay and compare executions."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import typer
from rich.columns import Columns
from rich.panel import Panel
from rich.table import Column, Table

from orchestai.app.replay import instruction_of, plan_of
from orchestai.app.runtime import open_runtime
from orchestai.cli.console import (
    JsonOption,
    ProjectOption,
    TargetOption,
    dollars,
    err,
    milliseconds,
    open_project,
    out,
    plain,
    print_json,
    safe,
)
from orchestai.cli.tree import PlanTree
from orchestai.config import Project
from orchestai.contracts import ExecutionEvent
from orchestai.errors import InputError
from orchestai.logs import ExecutionLogRecord, find_execution, read_executions

_app = typer.Typer(help="Look at what was executed.", no_args_is_help=True)
_RANDOM_ID = re.compile("[0-9a-f]{32}")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_app, name="logs")


@_app.command("list")
def list_executions(
    failed: bool = typer.Option(False, "--failed", help="Only those whose answer was not accepted."),
    since: str = typer.Option(None, "--since", help="30m, 12h, 7d, or an ISO date."),
    limit: int = typer.Option(20, "--limit", "-n", min=1, help="The most to show."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """List executions, the newest first."""
    project = open_project(project_dir, target)
    records = read_executions(
        project.paths.execution_logs,
        failed=failed,
        since=parse_since(since) if since else None,
        limit=limit,
    )
    if as_json:
        print_json([json.loads(record.model_dump_json()) for record in records])
        return
    if not records:
        out.print("No executions." if not failed else "No failed executions.")
        return
    execution = Column("execution", overflow="fold")
    table = Table("when (UTC)", execution, "", "planner", "#", "cost", "time", box=None, expand=True)
    table.add_column("instruction", no_wrap=True, overflow="ellipsis", ratio=1)
    for record in records:
        table.add_row(
            record.timestamp.strftime("%m-%d %H:%M"),
            plain(_short_id(record.execution_id)),
            _state(record),
            plain(record.planner_outputs.planner or ""),
            str(len(record.planner_outputs.task_types)),
            dollars(record.cost),
            milliseconds(record.latency_ms),
            plain(" ".join(record.instruction.split())),
        )
    out.print(table)


@_app.command()
def show(
    execution_id: str = typer.Argument(..., help="Id, or the beginning of it."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Show one execution: plan, workers, outputs, checks."""
    project = open_project(project_dir, target)
    record = _find(project, execution_id)
    if as_json:
        print_json(json.loads(record.model_dump_json()))
        return
    out.print(plain(record.instruction))
    out.print()
    out.print(_tree(record))
    outputs: dict[str, Any] = record.execution_result.get("outputs") or {}
    if "-1" in outputs:
        out.print(Panel(plain(outputs["-1"]), title="answer", title_align="left", border_style="dim"))
    for check in record.checks:
        mark = "[green]held[/]" if check.held else "[red]failed[/]"
        out.print(f"check {mark}: {safe(check.check.model_dump_json(exclude_defaults=True))}")
    out.print(
        f"{_state(record)} {dollars(record.cost)} · {milliseconds(record.latency_ms)} · "
        f"{record.timestamp.isoformat(timespec='seconds')} · {safe(record.execution_id)}",
        soft_wrap=True,
    )


@_app.command()
def replay(
    execution_id: str = typer.Argument(..., help="Id, or the beginning of it."),
    new_plan: bool = typer.Option(False, "--new-plan", help="Plan anew instead of running the logged plan."),
    mock: bool = typer.Option(False, "--mock", help="Let the simulator play every worker."),
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Run a logged instruction again and put both answers side by side."""
    project = open_project(project_dir, target)
    record = _find(project, execution_id)
    instruction = instruction_of(record)
    with open_runtime(project, mock=mock) as runtime:
        plan = None if new_plan else plan_of(record)
        execution = runtime.execute(instruction, plan)
    simulated = [subtask.index for subtask in execution.result.subtasks if subtask.simulated]
    out.print(PlanTree(execution.plan, simulated))
    before = str((record.execution_result.get("outputs") or {}).get("-1", ""))
    out.print(
        Columns(
            [
                Panel(plain(before), title=f"then {_state(record)}", width=max(out.width // 2 - 1, 30)),
                Panel(plain(execution.result.answer), title="now", width=max(out.width // 2 - 1, 30)),
            ]
        )
    )
    out.print(f"now {dollars(execution.result.total_cost)} · execution {execution.result.execution_id}")
    if execution.result.error:
        err.print(plain(execution.result.error, "red"), soft_wrap=True)
    if not execution.result.completed:
        raise typer.Exit(1)


@_app.command()
def compare(
    first: str = typer.Argument(..., help="Id, or the beginning of it."),
    second: str = typer.Argument(..., help="Id, or the beginning of it."),
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Put two plans side by side."""
    project = open_project(project_dir, target)
    records = [_find(project, first), _find(project, second)]
    width = out.width // 2 - 1
    titles = [plain(record.execution_id[:32]) for record in records]
    pairs = zip(records, titles, strict=True)
    out.print(Columns([Panel(_tree(record), title=title, width=width) for record, title in pairs]))
    table = Table(Column(), *(Column(title) for title in titles), box=None)
    table.add_row("instruction", *(plain(" ".join(r.instruction.split())[:60]) for r in records))
    table.add_row("accepted", *("yes" if r.success else "no" for r in records))
    table.add_row("cost", *(dollars(r.cost) for r in records))
    table.add_row("latency", *(milliseconds(r.latency_ms) for r in records))
    table.add_row("tasks", *(plain(", ".join(r.planner_outputs.task_type_names)) for r in records))
    out.print(table)


def parse_since(text: str, now: datetime | None = None) -> datetime:
    """Read `30m`, `12h`, `7d` (that long ago) or an ISO date.

    Raises:
        InputError: It is neither.
    """
    now = now or datetime.now(UTC)
    try:
        if text[-1:] in _UNITS and text[:-1].isdecimal():
            return now - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise InputError(f"`--since` must be like 30m, 12h, 7d or 2026-11-21, got {text!r}.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _find(project: Project, execution_id: str) -> ExecutionLogRecord:
    record = find_execution(project.paths.execution_logs, execution_id)
    if record is None:
        raise InputError(
            f"No execution {execution_id!r} in {project.paths.execution_logs}.",
            remedy="`orchestai logs list` shows the ids.",
        )
    return record


def _state(record: ExecutionLogRecord) -> str:
    state = "[green]accepted[/]" if record.success else "[red]refused[/]"
    if not record.completed:
        state = "[red]failed[/]"
    return f"{state} [magenta]sim[/]" if record.simulated else state


def _short_id(execution_id: str) -> str:
    # Ids that we made are random: their beginning is enough. Others say something to whoever chose them.
    return execution_id[:12] if _RANDOM_ID.fullmatch(execution_id) else execution_id


def _tree(record: ExecutionLogRecord) -> PlanTree:
    tree = PlanTree(plan_of(record), [subtask.index for subtask in record.subtasks if subtask.simulated])
    for subtask in record.subtasks:
        tree.update(
            ExecutionEvent(
                execution_id=record.execution_id,
                index=subtask.index,
                status=subtask.status,
                worker=subtask.worker,
                attempt=subtask.attempts,
                cost_usd=subtask.cost_usd,
                latency_ms=subtask.latency_ms,
                error=subtask.error,
            )
        )
    return tree
