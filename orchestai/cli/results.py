"""How the outcome of an execution is printed."""

from __future__ import annotations

import json
from typing import Any

import typer

from orchestai.cli.console import clean, dollars, err, milliseconds, out, plain, safe
from orchestai.contracts import ExecutionResult, Plan


def show_result(result: ExecutionResult) -> None:
    """Print answer, cost, time and what went wrong."""
    if result.answer:
        # Not through rich, which would wrap lines and expand tabs.
        typer.echo(f"\n{clean(result.answer)}\n")
    else:
        out.print("\n[dim](no answer)[/]\n")
    if result.simulated:
        err.print("[magenta]Simulated workers took part; their words are made up.[/]")
    failed = [check for check in result.checks if not check.held]
    state = "[green]done[/]" if result.completed else "[red]failed[/]"
    err.print(
        f"{state} · {dollars(result.total_cost)} · {milliseconds(result.total_latency_ms)} · "
        f"{result.retry_count} retries · execution {result.execution_id}",
        soft_wrap=True,
    )
    for check in failed:
        err.print(f"[red]not accepted:[/] {safe(check.check.model_dump_json(exclude_defaults=True))}")
    if result.error:
        err.print(plain(result.error, "red"), soft_wrap=True)


def result_json(the_plan: Plan, result: ExecutionResult) -> dict[str, Any]:
    """Return what `--json` prints."""
    body: dict[str, Any] = json.loads(result.model_dump_json())
    return {
        "execution_id": result.execution_id,
        "answer": result.answer,
        "success": result.success,
        "completed": result.completed,
        "simulated": result.simulated,
        "plan": json.loads(the_plan.model_dump_json()),
        "result": body,
    }
