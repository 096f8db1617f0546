"""`run` and `plan`: from an instruction to its plan, its execution and its answer."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import typer
from rich.live import Live
from rich.table import Table

from orchestai.app.batch import plan_file
from orchestai.app.facade import as_instruction
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
from orchestai.cli.results import result_json, show_result
from orchestai.cli.tree import PlanTree, simulated_nodes
from orchestai.contracts import Instruction, Plan, WorkerCatalog
from orchestai.errors import InputError, InstructionError

_MEDIA = {
    ".png": "image", ".jpg": "image", ".jpeg": "image", ".webp": "image", ".gif": "image",
    ".wav": "audio", ".mp3": "audio", ".m4a": "audio", ".flac": "audio", ".ogg": "audio",
}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(run)
    app.command()(plan)


def run(
    instruction: str = typer.Argument(..., help="What is to be done; - reads it from standard input."),
    inputs: list[Path] = typer.Option(
        [], "--input", "-i", help="Material: a text, image or audio file.", show_default=False
    ),
    budget_usd: float = typer.Option(None, "--budget-usd", min=0, help="The most it may cost."),
    budget_seconds: float = typer.Option(None, "--budget-seconds", min=0.001, help="The most it may take."),
    min_success: float = typer.Option(
        None, "--min-success", min=0, max=1, help="Least expected success: the cheapest such plan; needs a router."
    ),
    max_latency_s: float = typer.Option(
        None, "--max-latency-s", min=0.001, help="The most that the plan may be expected to take."
    ),
    constraints: list[str] = typer.Option(
        [], "--constraint", "-c", help="A condition on the answer.", show_default=False
    ),
    priority: str = typer.Option("normal", help="low, normal or high."),
    idempotency_key: str = typer.Option(
        None, "--idempotency-key", help="Two runs with the same key are one: the second prints the first's answer."
    ),
    mock: bool = typer.Option(False, "--mock", help="Let the simulator play every worker; no network."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Plan, estimate and explain; run nothing."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Plan an instruction, run the plan and print the answer."""
    project = open_project(project_dir, target)
    request = build_instruction(
        instruction,
        inputs=inputs,
        constraints=constraints,
        priority=priority,
        budget={
            "usd": budget_usd,
            "seconds": budget_seconds,
            "min_success": min_success,
            "max_latency_s": max_latency_s,
        },
        idempotency_key=idempotency_key,
    )
    with open_runtime(project, mock=mock, log=not dry_run) as runtime:
        workers = runtime.workforce.catalog
        execution_id = uuid.uuid4().hex
        the_plan = runtime.plan(request, execution_id=None if dry_run else execution_id)
        if dry_run:
            _show_dry_run(the_plan, workers, as_json)
            return
        tree = PlanTree(the_plan, simulated_nodes(the_plan, workers))
        if as_json:
            result = runtime.execute(request, the_plan, execution_id=execution_id).result
            print_json(result_json(the_plan, result))
        elif err.is_terminal:
            with Live(tree, console=err, refresh_per_second=12):
                result = runtime.execute(request, the_plan, on_event=tree.update, execution_id=execution_id).result
        else:
            result = runtime.execute(request, the_plan, on_event=tree.update, execution_id=execution_id).result
            err.print(tree)
    if not as_json:
        show_result(result)
    if not result.completed:
        raise typer.Exit(1)


def plan(
    instruction: str = typer.Argument(None, help="What is to be planned."),
    file: Path = typer.Option(None, "--file", help="JSONL with id and instruction a line."),
    catalog: Path = typer.Option(None, "--catalog", help="catalog.yml of an import; the project's own if not given."),
    checkpoint: Path = typer.Option(None, "--checkpoint", help="Weights to plan with."),
    output: Path = typer.Option(None, "--out", help="JSONL with id, nodes, links, confidence, planner, latency_ms."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Plan one instruction, or a file of them, without running anything."""
    project = open_project(project_dir, target)
    if file is not None:
        if output is None:
            raise InputError("--file needs --out.", remedy="Name the JSONL file to write.")
        report = plan_file(project, file, output, catalog=catalog, checkpoint=checkpoint)
        err.print(
            f"Planned {report.planned} of {report.lines} instructions by {report.planner} "
            f"(p50 {report.latency_ms_p50:.1f} ms) → {safe(output)}",
            soft_wrap=True,
        )
        if report.rejected:
            err.print(f"[red]{len(report.rejected)} lines were rejected:[/]")
            for problem in report.rejected[:10]:
                err.print(plain(f"  {problem}"), soft_wrap=True)
            raise typer.Exit(2)
        return
    if instruction is None:
        raise InputError("Nothing to plan.", remedy="Give an instruction, or a file with --file.")
    if catalog is not None or checkpoint is not None or output is not None:
        raise InputError("--catalog, --checkpoint and --out need --file.", remedy="Give --file X.jsonl.")
    with open_runtime(project, log=False) as runtime:
        the_plan = runtime.plan(build_instruction(instruction))
        _show_dry_run(the_plan, runtime.workforce.catalog, as_json)


def build_instruction(
    text: str,
    *,
    inputs: list[Path] | None = None,
    constraints: list[str] | None = None,
    priority: str = "normal",
    budget: Mapping[str, float | None] | None = None,
    idempotency_key: str | None = None,
) -> Instruction:
    """Make an instruction of what the command line gave.

    Raises:
        InputError: A file is missing, or a value is not allowed.
    """
    if text == "-":
        text = _read_standard_input()
    if priority not in ("low", "normal", "high"):
        raise InputError(f"`--priority` must be low, normal or high, got {priority!r}.")
    return as_instruction(
        text,
        {
            "inputs": _read_inputs(inputs or []),
            "constraints": tuple(constraints or ()),
            "priority": priority,
            "budget": budget or {},
            "idempotency_key": idempotency_key,
        },
    )


def _read_standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InstructionError(
            f"Standard input is not UTF-8 text (byte {error.start}).",
            remedy="Send plain text; pass binary material as a file input.",
        ) from error


def _read_inputs(paths: list[Path]) -> dict[str, str]:
    values: dict[str, str] = {}
    for path in paths:
        if not path.is_file():
            raise InputError(f"The input {str(path)!r} is not a file.", remedy="Check the path.")
        kind = _MEDIA.get(path.suffix.lower(), "text")
        if kind != "text":
            value = str(path.resolve())
        else:
            try:
                value = path.read_text(encoding="utf-8")
            except OSError as error:
                raise InputError(
                    f"The input {str(path)!r} cannot be read: {error.strerror}.",
                    remedy="Check its permissions.",
                ) from error
            except UnicodeDecodeError as error:
                raise InstructionError(
                    f"The input {str(path)!r} is not UTF-8 text (byte {error.start}).",
                    remedy="Give text, an image (.png .jpg .webp .gif) or audio (.wav .mp3 .m4a .flac .ogg).",
                ) from error
        number = 1 + sum(name.split("_")[0] == kind for name in values)
        values[kind if number == 1 else f"{kind}_{number}"] = value
    return values


def _show_dry_run(the_plan: Plan, workers: WorkerCatalog, as_json: bool) -> None:
    if as_json:
        print_json(the_plan.model_dump(mode="json"))
        return
    err.print(PlanTree(the_plan, simulated_nodes(the_plan, workers)))
    table = Table("sub-task", "worker", "estimate", "why", box=None, header_style="dim")
    for index, assignment in enumerate(the_plan.assignments):
        simulated = " (simulated)" if workers[assignment.worker].simulated else ""
        table.add_row(
            f"{index} {the_plan.graph.nodes[index].task_type}",
            f"{assignment.worker}{simulated}",
            f"{dollars(assignment.estimated_cost_usd)} · {milliseconds(assignment.estimated_latency_ms)}",
            plain(assignment.reason),
        )
    out.print(table)
    out.print(
        f"Estimate: {dollars(the_plan.estimated_cost_usd)}, "
        f"{milliseconds(the_plan.estimated_latency_ms)} on the critical path. Nothing was run."
    )
