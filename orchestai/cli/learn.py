"""`train` and `evaluate`: from data to a checkpoint, and what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from orchestai.app.learning import evaluate_checkpoint, read_examples
from orchestai.app.places import phase1_folder, phase2_folder, router_folder, training_folder
from orchestai.app.recorded import curves_file, train_recorded
from orchestai.cli import off_policy, structure
from orchestai.cli.console import JsonOption, ProjectOption, TargetOption, open_project, out, print_json, safe
from orchestai.cli.logs import parse_since
from orchestai.cli.progress import progress_bar
from orchestai.config import read_phase1, read_phase2
from orchestai.errors import InputError

_train = typer.Typer(help="Train the planner and the router.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    _train.command("structure")(structure.train)
    app.add_typer(_train, name="train")
    app.command()(evaluate)


@_train.command()
def phase1(
    data: Path = typer.Option(None, "--data", help="Folder of an import or of training data."),
    output: Path = typer.Option(None, "--out", help="Folder of the checkpoint."),
    config: Path = typer.Option(None, "--config", help="A training/phase1.yml of yours, for this call."),
    epochs: int = typer.Option(None, "--epochs", min=1, help="Passes over the data, at most."),
    seed: int = typer.Option(None, "--seed", min=0, help="Equal seeds give equal weights."),
    fresh: bool = typer.Option(False, "--fresh", help="Start anew instead of resuming."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Phase 1: learn to plan from examples. On several GPUs: accelerate launch -m orchestai.cli.main train phase1."""
    from orchestai.training.distributed import is_main_process  # loads torch

    project = open_project(project_dir, target)
    source = data or training_folder(project)
    out_dir = output or phase1_folder(project)
    updates: dict[str, Any] = {"epochs": epochs, "seed": seed}
    recipe = read_phase1(config) if config is not None else project.training.phase1
    recipe = recipe.model_copy(update={name: value for name, value in updates.items() if value is not None})
    examples, tasks, workers = read_examples(project, source)
    main = is_main_process()
    with progress_bar(shown=main) as bar:
        task = bar.add_task("Phase 1", total=recipe.epochs, note="")

        def on_epoch(row: dict[str, Any]) -> None:
            note = f"loss {row['train_loss']:.3f} · validation {row['validation_loss']:.3f}"
            if row.get("stage") == "encoder":
                bar.update(task, note=f"encoder, epoch {row['epoch']} · {note}")
            else:
                bar.update(task, completed=row["epoch"], note=note)

        result = train_recorded(
            project,
            examples,
            tasks=tasks,
            workers=workers,
            out=out_dir,
            config=recipe,
            on_epoch=on_epoch,
            resume=not fresh,
        )
    if not main:
        return  # process 0 of several speaks for all
    if as_json:
        print_json({"checkpoint": result.checkpoint, "metrics": result.metrics, "seconds": result.seconds})
        return
    first, last = result.history[0], result.history[-1]
    out.print(
        f"Loss {first['train_loss']:.3f} → {last['train_loss']:.3f} in {len(result.history)} epochs, "
        f"{result.seconds:.0f} s; best epoch {result.best_epoch}.\nCheckpoint: {safe(result.checkpoint)}\n"
        f"Curves: {safe(curves_file(result.checkpoint))}",
        highlight=False,
        soft_wrap=True,
    )


@_train.command()
def phase2(
    checkpoint: Path = typer.Option(None, "--from", help="Phase 1 checkpoint to go on from."),
    data: Path = typer.Option(None, "--data", help="Import with outcomes to replay; else simulated workers."),
    live: Path = typer.Option(None, "--live", help="Starter corpus to execute instead, within --spend."),
    spend: float = typer.Option(None, "--spend", min=0, help="Dollars that a live training may spend."),
    output: Path = typer.Option(None, "--out", help="Folder of the checkpoint."),
    config: Path = typer.Option(None, "--config", help="A training/phase2.yml of yours, for this call."),
    rewards: str = typer.Option(None, "--rewards", help="Reward weights by name: a file of rewards/."),
    updates: int = typer.Option(None, "--updates", min=1, help="Rounds of acting and learning, at most."),
    seed: int = typer.Option(None, "--seed", min=0, help="Equal seeds give equal weights."),
    fresh: bool = typer.Option(False, "--fresh", help="Start anew instead of resuming."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Phase 2: learn from rewards who should do what, by PPO, from the Phase 1 checkpoint."""
    from orchestai.app.phase2 import train_phase2

    project = open_project(project_dir, target)
    given: dict[str, Any] = {"updates": updates, "seed": seed, "rewards": rewards, "spending_usd": spend}
    recipe = read_phase2(config) if config is not None else project.training.phase2
    recipe = recipe.model_copy(update={name: value for name, value in given.items() if value is not None})
    with progress_bar() as bar:
        task = bar.add_task("Phase 2", total=recipe.updates, note="")

        def on_update(row: dict[str, Any]) -> None:
            bar.update(task, completed=row["epoch"])
            if found := row.get("validation"):
                bar.update(task, note=f"validation reward {found['reward']:.3f}")

        result = train_phase2(
            project,
            out=output or phase2_folder(project),
            checkpoint=checkpoint,
            source=data,
            live=live,
            config=recipe,
            on_update=on_update,
            resume=not fresh,
        )
    if as_json:
        print_json({"checkpoint": result.checkpoint, "methods": result.methods, "warning": result.warning})
        return
    table = Table("test split, simulated", "reward", "success", "$", "ms", box=None)
    for name, row in result.methods.items():
        cells = (f"{row['reward']:.3f}", f"{row['success']:.1%}", f"{row['cost_usd']:.6f}", f"{row['latency_ms']:.0f}")
        table.add_row(name, *cells)
    out.print(table)
    if result.warning:
        out.print(f"[yellow]{safe(result.warning)}[/]", soft_wrap=True)
    out.print(
        f"{len(result.history) - 1} rounds, {result.seconds:.0f} s; best after round {result.best_update}.\n"
        f"Checkpoint: {safe(result.checkpoint)}\nCurves: {safe(curves_file(result.checkpoint))}",
        highlight=False,
        soft_wrap=True,
    )


@_train.command()
def router(
    data: Path = typer.Option(None, "--data", help="Folder of an import with outcomes; the own logs if not given."),
    output: Path = typer.Option(None, "--out", help="Folder of the checkpoint."),
    epochs: int = typer.Option(None, "--epochs", min=1, help="Passes over the data of each network."),
    seed: int = typer.Option(None, "--seed", min=0, help="Equal seeds give equal weights."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Learn from past outcomes which worker does what well, and when nobody can tell."""
    from orchestai.app.routing import train_router_on

    project = open_project(project_dir, target)
    updates: dict[str, Any] = {"epochs": epochs, "seed": seed}
    given = {name: value for name, value in updates.items() if value is not None}
    config = project.training.router.model_copy(update=given)
    with progress_bar() as bar:
        task = bar.add_task("Router", total=config.folds + 1, note="")

        def on_step(note: str) -> None:
            bar.update(task, advance=1, note=note)

        result = train_router_on(project, data, out=output or router_folder(project), config=config, on_step=on_step)
    if as_json:
        print_json(result._asdict())
        return
    found = result.metrics
    out.print(
        f"{result.rows} sub-tasks, {len(result.workers)} workers. Out of fold: best single worker "
        f"{found['best_single']:.1f} %, routed {found['accuracy_routed']:.1f} %, "
        f"thrifty {found['thrifty_routed']:.1f} % at ${found['thrifty_usd']:.6f}; "
        f"AUC {found['auc']:.3f}, ECE {found['ece']:.3f}.\n"
        f"Checkpoint: {safe(result.checkpoint)}",
        highlight=False,
        soft_wrap=True,
    )


@_train.command()
def anomaly(
    since: str = typer.Option(None, "--since", help="30m, 12h, 7d, or an ISO date; all of the log when not given."),
    output: Path = typer.Option(None, "--out", help="Folder of the checkpoint."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Learn from the log how each worker behaves, so that one that goes bad is noticed and left alone."""
    from orchestai.app.anomaly import train_anomaly_on

    project = open_project(project_dir, target)
    result = train_anomaly_on(project, out=output, since=parse_since(since) if since else None)
    trained = result.trained
    if as_json:
        facts = {"calls": trained.calls, "too_few": trained.too_few, "metrics": trained.model.metrics}
        print_json({"checkpoint": result.checkpoint, "method": trained.model.detector.method, **facts})
        return
    found = trained.model.metrics
    few = f"\nToo few calls to learn from: {safe(', '.join(sorted(trained.too_few)))}." if trained.too_few else ""
    out.print(
        f"{len(trained.calls)} workers, {sum(trained.calls.values())} calls. Score: {trained.model.detector.method}; "
        f"false alarms on held-out calls {found['false_alarms_per_1000']:.2f} in 1,000 "
        f"({project.engine.anomaly.false_alarms_per_1000:g} stated).{few}\nCheckpoint: {safe(result.checkpoint)}",
        highlight=False,
        soft_wrap=True,
    )


def evaluate(
    data: Path = typer.Option(None, "--data", help="Folder of an import or of training data."),
    checkpoint: Path = typer.Option(None, "--checkpoint", help="Checkpoint to evaluate."),
    split: str = typer.Option("test", "--split", help="train, validation or test."),
    log: bool = typer.Option(False, "--off-policy", help="What other choices of workers would have earned on the log."),
    since: str = typer.Option(None, "--since", help="With --off-policy: 30m, 12h, 7d, or an ISO date."),
    policy: list[str] = typer.Option(
        [], "--policy", help="With --off-policy: cheapest, uniform, router or a worker; may be repeated."
    ),
    reward: str = typer.Option("success", "--reward", help="With --off-policy: success, or reward weights."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Compare the learned planner with rules, 1-NN plan copy and kernel ridge on one split; or policies on the log."""
    project = open_project(project_dir, target)
    if log:
        off_policy.show(project, since=since, policies=policy, reward=reward, as_json=as_json)
        return
    if since or policy:
        given = "--since" if since else "--policy"
        raise InputError(f"`{given}` says nothing without `--off-policy`.", remedy="Add --off-policy, or leave it out.")
    source = data or training_folder(project)
    results = evaluate_checkpoint(project, source, checkpoint, split)
    if as_json:
        print_json(results)
        return
    columns = ("node_f1", "link_f1", "edge_f1_non_chain", "exact", "dag_validity", "ms_per_plan_p50")
    table = Table("planner", *columns, box=None)
    for name, row in results["planners"].items():
        table.add_row(name, *(f"{row[column]:.1f}" if row.get(column) is not None else "" for column in columns))
    out.print(table)
    out.print(f"{results['examples']} examples of the {split} split of {safe(source)}", soft_wrap=True)
