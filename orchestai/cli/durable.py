"""`resume`, `approve` and `cancel`: executions of other processes, or that wait for a person."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import typer

from orchestai.app.executions import Execution
from orchestai.app.runtime import Runtime, open_runtime
from orchestai.cli.console import (
    JsonOption,
    ProjectOption,
    TargetOption,
    clean,
    err,
    open_project,
    out,
    plain,
    print_error,
    print_json,
)
from orchestai.cli.results import result_json, show_result
from orchestai.errors import ExecutionStoppedError, InputError, OrchestAIError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(resume)
    app.command()(approve)
    app.command()(cancel)


def resume(
    execution: str = typer.Argument(None, help="Only this execution; all that were left when not given."),
    mock: bool = typer.Option(False, "--mock", help="Let the simulator play every worker; no network."),
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Finish what a killed process left; no sub-task that was done runs again."""
    project = open_project(project_dir, target)
    with open_runtime(project, mock=mock) as runtime:
        ended = runtime.call(_resume_all(runtime, execution))
    if not ended:
        err.print("Nothing was left to do.")
    failed = 0
    for execution_id, outcome in ended.items():
        if isinstance(outcome, OrchestAIError):
            print_error(outcome.code, outcome)
            failed += 1
        else:
            mark = "[green]✓[/]" if outcome.result.completed else "[red]✗[/]"
            failed += not outcome.result.completed
            out.print(f"{mark} {execution_id}", highlight=False)
            typer.echo(clean(outcome.result.answer))
    if failed:
        raise typer.Exit(1)


def approve(
    execution: str = typer.Argument(None, help="What to allow; without it, those that wait are listed."),
    reject: bool = typer.Option(False, "--reject", help="Refuse it instead."),
    by: str = typer.Option("", "--by", help="Who decides; kept beside the execution."),
    later: bool = typer.Option(False, "--later", help="Only allow it: the service or `resume` runs it."),
    mock: bool = typer.Option(False, "--mock", help="Let the simulator play every worker; no network."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Allow or refuse a plan that waits for a person, and run it."""
    project = open_project(project_dir, target)
    with open_runtime(project, mock=mock) as runtime:
        if execution is None:
            _list_waiting(runtime, as_json)
            return
        runtime.call(runtime.executions.decide(execution, approve=not reject, by=by))
        if reject or later:
            err.print("Refused." if reject else "Allowed.")
            return
        outcome = runtime.call(runtime.executions.finish(execution))
    if as_json:
        print_json(result_json(outcome.plan, outcome.result))
    else:
        show_result(outcome.result)
    if not outcome.result.completed:
        raise typer.Exit(1)


def cancel(
    execution: str = typer.Argument(help="What to end, in whichever process it runs."),
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """End an execution that runs or waits; what is done is kept."""
    project = open_project(project_dir, target)
    with open_runtime(project) as runtime:
        reason = runtime.call(_cancel(runtime, execution))
    err.print(f"Ended: {reason}.", markup=False)


async def _cancel(runtime: Runtime, execution_id: str) -> str:
    assert runtime.store is not None  # opened with a log
    stored = runtime.store.find(execution_id)
    if stored is not None and stored.status == "waiting":
        await runtime.executions.decide(execution_id, approve=False, by="the caller")
    elif not await runtime.executions.cancel(execution_id):
        state = "is unknown" if stored is None else f"is {stored.status}"
        raise InputError(f"Execution {execution_id!r} {state}.", remedy="`orchestai logs list` shows what ended.")
    with suppress(ExecutionStoppedError):  # ended without a result
        await runtime.executions.join(execution_id)
    ended = runtime.store.find(execution_id)
    return (ended.reason or ended.status) if ended is not None else "finished"


async def _resume_all(runtime: Runtime, execution_id: str | None) -> dict[str, Execution | OrchestAIError]:
    if execution_id is not None:
        return {execution_id: await runtime.executions.finish(execution_id)}
    started = await runtime.executions.resume()
    ended: dict[str, Execution | OrchestAIError] = {}
    for found, task in started.items():
        await asyncio.wait([task])
        try:
            ended[found] = task.result()
        except OrchestAIError as error:
            ended[found] = error
    return ended


def _list_waiting(runtime: Runtime, as_json: bool) -> None:
    assert runtime.store is not None  # opened with a log
    found = [runtime.store.find(line.id) for line in runtime.store.search(status="waiting", limit=1000)]
    waiting = [stored for stored in found if stored is not None and (stored.expires or 0) > time.time()]
    if as_json:
        print_json([stored.model_dump(mode="json") for stored in waiting])
        return
    if not waiting:
        err.print("Nothing waits for approval.")
        return
    for stored in waiting:  # no table: the id must stay whole to be copied
        expires = datetime.fromtimestamp(stored.expires or 0, UTC)
        out.print(f"[bold]{stored.id}[/]  expires {expires:%Y-%m-%d %H:%M} UTC", highlight=False, soft_wrap=True)
        out.print(plain(f"  {' '.join(stored.instruction.text.split())[:200]}"), soft_wrap=True)
        out.print(plain(f"  {stored.reason}", "dim"), soft_wrap=True)
