"""`make run`: the whole loop once, on embedded defaults, then the Dagster UI.

Collect (live on the packaged model, then on simulated workers) -> ingest and validate -> train Phase 1 ->
answer one instruction that was not trained on -> summary. The assets are materialised by Dagster runs, so the
UI shows what happened. A stage whose result is there already is not repeated.
"""

import argparse
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from orchestai.app.collection import LIVE, collect_starter, logged_executions, starter_items
from orchestai.app.json_files import read_json, write_json
from orchestai.app.places import report_folder
from orchestai.app.planning import current_checkpoint
from orchestai.app.report import REPORT_FILE
from orchestai.app.runtime import build_runtime
from orchestai.config import Project, Settings, load_project
from orchestai.contracts import ExecutionResult, Modality
from orchestai.errors import DataError, EndpointError, InputError, OrchestAIError, StorageError
from orchestai.importers.starter import StarterRecord, read_starter
from orchestai.logs import list_days, read_executions
from orchestai.training.collect import CollectionItem
from resources.pools import apply_pool_limits

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "examples" / "starter" / "instructions.jsonl"
LIVE_EXECUTIONS = 24
SIMULATED_ROUNDS = 3

console = Console()


def main() -> None:
    """Run the stages and, unless `--no-ui` is given, become the Dagster UI."""
    parser = argparse.ArgumentParser(description="Run the whole loop once, then the Dagster UI.")
    parser.add_argument("--no-ui", action="store_true", help="end after the summary")
    parser.add_argument("--port", type=int, default=3000, help="port of the Dagster UI")
    options = parser.parse_args()
    try:
        project = load_project(settings=Settings.load())
        if not options.no_ui:
            require_free_port(options.port)
        dagster_home = prepare_dagster_home(project)
        show_summary(project, FirstRun(project).run())
    except OrchestAIError as error:
        console.print(f"[bold red]{error.code}[/]: ", end="")
        console.print(str(error), markup=False, highlight=False)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        console.print("\nInterrupted; `make run` goes on from here.")
        sys.exit(130)
    if not options.no_ui:
        start_ui(dagster_home, options.port)


class FirstRun:
    """The stages, each skipped when its result is there."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._file = project.home / "first_run.json"
        self._state: dict[str, Any] = read_json(self._file) if self._file.exists() else {"stage_seconds": {}}

    def run(self) -> dict[str, Any]:
        """Do what is not done yet and return the summary, which is also written to `summary.json`.

        Raises:
            OrchestAIError: A stage failed; what is done stays done.
        """
        records = read_starter(CORPUS)
        self._stage("collect", lambda: self._collect(records))
        self._stage("ingest_and_validate", self._ingest)
        self._stage("train", self._train)
        self._stage("answer", lambda: self._answer(records))
        summary = self._summarise()
        write_json(self._project.home / "summary.json", summary)
        return summary

    def _stage(self, name: str, work: Callable[[], bool]) -> None:
        started = time.monotonic()
        if not work():
            console.print(f"[green]✓[/] {name} [dim]· done before[/]")
            return
        seconds = time.monotonic() - started
        total = self._state["stage_seconds"]
        total[name] = round(total.get(name, 0.0) + seconds, 1)
        write_json(self._file, self._state)
        console.print(f"[green]✓[/] {name} [dim]· {seconds:.0f} s[/]")

    def _collect(self, records: list[StarterRecord]) -> bool:
        live, simulated = starter_items(self._project, records, CORPUS, live=LIVE_EXECUTIONS, rounds=SIMULATED_ROUNDS)
        logged = logged_executions(self._project)
        missing = [item for item in (*live, *simulated) if item.execution_id not in logged]
        if not missing:
            return False
        with Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[accepted]} accepted"),
            console=console,
        ) as progress:
            bars = {
                True: progress.add_task("live, on the real model   ", total=len(live), accepted=0),
                False: progress.add_task("on simulated workers      ", total=len(simulated), accepted=0),
            }
            accepted = {True: 0, False: 0}

            def on_done(item: CollectionItem, result: ExecutionResult | None) -> None:
                real = item.source.kind == LIVE
                accepted[real] += result is not None and result.success
                progress.update(bars[real], advance=1, accepted=accepted[real])

            collect_starter(self._project, CORPUS, live=LIVE_EXECUTIONS, rounds=SIMULATED_ROUNDS, on_done=on_done)
        self._state["ingested"] = []
        return True

    def _ingest(self) -> bool:
        days = [str(day) for day in list_days(self._project.paths.execution_logs)]
        missing = [day for day in days if day not in self._state.get("ingested", [])]
        if not missing:
            return False
        for day in missing:
            run_job("ingest_and_validate", f"Ingesting and validating {day}", partition_key=day)
        self._state["ingested"] = days
        self._state["trained"] = False
        return True

    def _train(self) -> bool:
        if self._state.get("trained") and current_checkpoint(self._project) is not None:
            return False
        run_job("train_planner", "Preparing data, training Phase 1, writing the report")
        self._state["trained"] = True
        self._state.pop("answer", None)
        return True

    def _answer(self, records: list[StarterRecord]) -> bool:
        if "answer" in self._state:
            return False
        record = self._unseen(records)
        # The threshold is lifted: this stage shows what the learned planner does, not what would replace it.
        planner = self._project.planner.model_copy(update={"confidence_threshold": 0.0})
        runtime = build_runtime(self._project.model_copy(update={"planner": planner}))
        try:
            execution = runtime.execute(record.to_instruction(CORPUS.parent))
        finally:
            runtime.close()
        self._state["answer"] = {
            "instruction": record.instruction,
            "plan": [
                {
                    "task_type": node.task_type,
                    "worker": assignment.worker,
                    "dependencies": list(execution.plan.graph.dependencies[index]),
                }
                for index, (node, assignment) in enumerate(
                    zip(execution.plan.graph.nodes, execution.plan.assignments, strict=True)
                )
            ],
            "planner": execution.plan.planner,
            "confidence": execution.plan.confidence,
            "text": execution.result.answer,
            "accepted": execution.result.success,
            "simulated": execution.result.simulated,
        }
        return True

    def _unseen(self, records: list[StarterRecord]) -> StarterRecord:
        """Return the shortest English test instruction of two or three sub-tasks that needs chat calls only."""
        tasks = self._project.tasks
        size = {record.id: len(record.instruction) + sum(map(len, record.inputs.values())) for record in records}
        for record in sorted(records, key=lambda record: (record.language != "en", size[record.id])):
            types = [tasks[node.task_type] for node in record.graph.nodes]
            chat = all(kind.modality is Modality.CHAT for kind in types)
            if record.split == "test" and chat and 2 <= len(types) <= 3:
                return record
        raise DataError(f"{CORPUS} has no short test instruction.", remedy="Restore the starter corpus.")

    def _summarise(self) -> dict[str, Any]:
        project = self._project
        report = read_json(report_folder(project) / REPORT_FILE)
        executions = list(read_executions(project.paths.execution_logs))
        seconds = self._state["stage_seconds"]
        return {
            "executions": len(executions),
            "successes": sum(record.success for record in executions),
            "live_executions": sum(record.source.kind == LIVE for record in executions),
            "live_successes": sum(record.source.kind == LIVE and record.success for record in executions),
            "simulated_executions": sum(record.simulated for record in executions),
            "rows": report["rows"],
            "loss_first": report["loss_first"],
            "loss_last": report["loss_last"],
            "accuracy_learned": report["planners"]["learned"]["node_f1"],
            "accuracy_rules": report["planners"]["rules"]["node_f1"],
            "planners": report["planners"],
            "stage_seconds": seconds,
            "total_seconds": round(sum(seconds.values()), 1),
            "answer": self._state["answer"],
        }


def run_job(name: str, label: str, partition_key: str | None = None) -> None:
    """Run a job of the code location in this process, on the instance that the UI will show.

    Raises:
        DataError: A blocking check refused the data; nothing downstream ran.
        OrchestAIError: A step failed.
    """
    import dagster as dg

    from orchestai_assets.definitions import defs

    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.get() as instance, console.status(f"{label} …"):
        result = defs.resolve_job_def(name).execute_in_process(
            instance=instance, partition_key=partition_key, run_config=quiet, raise_on_error=False
        )
    if result.success:
        return
    refused = [check for check in result.get_asset_check_evaluations() if not check.passed and check.blocking]
    if refused:
        names = ", ".join(f"{check.asset_key.to_user_string()}:{check.check_name}" for check in refused)
        raise DataError(
            f"The blocking check {names} refused the data.",
            remedy="Open the asset in the UI (`make run`) to see observed and allowed values.",
        )
    failures = [event for event in result.all_events if event.is_step_failure]
    reason = "; ".join(str(event.step_failure_data.error) for event in failures) or "see the run in the UI"
    raise OrchestAIError(f"The job {name} failed: {reason}")


def prepare_dagster_home(project: Project) -> Path:
    """Make the Dagster instance folder below the project's home and point this process to it.

    Raises:
        StorageError: The folder cannot be written.
    """
    import dagster as dg

    folder = project.home / "dagster"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "deploy" / "dev" / "dagster.yaml", folder / "dagster.yaml")
        # The source `starter_corpus`, for the job `collect_executions` launched from the UI.
        corpus = project.home / project.sources["starter_corpus"].path
        shutil.copytree(CORPUS.parent, corpus.parent, dirs_exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"Cannot write {folder}: {error.strerror}.",
            path=str(folder),
            remedy="Free some space, or set ORCHESTAI_HOME to a folder you may write.",
        ) from error
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ["ORCHESTAI_HOME"] = str(project.home)
    with dg.DagsterInstance.get() as instance:
        apply_pool_limits(instance, project.dagster)
    return folder


def require_free_port(port: int) -> None:
    """Say now, not after minutes of work, that the UI's port is taken.

    Raises:
        EndpointError: Something listens there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise EndpointError(
                f"Port {port} is taken, so the UI cannot start.",
                remedy="Stop what listens there, or use `make run PORT=3001`, or `make run UI=0`.",
            ) from None


def start_ui(dagster_home: Path, port: int) -> None:
    """Become `dagster dev`: webserver and daemon with sensors and schedules."""
    console.print(f"\nDagster UI: [bold]http://127.0.0.1:{port}[/] (Ctrl-C stops it)\n")
    sys.stdout.flush()
    command = Path(sys.executable).with_name("dagster")
    arguments = ["dev", "-w", str(ROOT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)]
    os.execve(command, [str(command), *arguments], {**os.environ, "DAGSTER_HOME": str(dagster_home)})


def show_summary(project: Project, summary: dict[str, Any]) -> None:
    """Print what was executed, learned, answered, and where it lies."""
    table = Table("planner (test split, from the instruction alone)", box=None, header_style="bold")
    for column in ("node-F1", "edge-F1 on non-chains", "valid DAGs"):
        table.add_column(column, justify="right")
    for name, row in summary["planners"].items():
        table.add_row(name, f"{row['node_f1']:.1f}", f"{row['edge_f1_non_chain']:.1f}", f"{row['dag_validity']:.0f} %")
    answer = summary["answer"]
    steps = " → ".join(f"{step['task_type']}@{step['worker']}" for step in answer["plan"])
    console.print()
    console.print(
        f"[bold]Executed[/]  {summary['executions']} instructions, {summary['successes']} accepted; "
        f"{summary['live_executions']} live on the real model ({summary['live_successes']} accepted), "
        f"[magenta]{summary['simulated_executions']} on simulated workers[/]"
    )
    console.print(
        f"[bold]Learned[/]   {summary['rows']} training rows, training loss "
        f"{summary['loss_first']:.2f} → {summary['loss_last']:.2f}"
    )
    console.print(table)
    console.print()
    console.print(
        Panel(
            Text.assemble(
                (answer["instruction"], "bold"),
                (f"\n{answer['planner']} plan: {steps}\n\n", "dim"),
                answer["text"],
            ),
            title="An instruction it was not trained on",
            title_align="left",
        )
    )
    console.print(
        f"[dim]logs {project.paths.execution_logs}\ntables {project.paths.data}\n"
        f"checkpoint {current_checkpoint(project)}\nsummary {project.home / 'summary.json'}\n"
        f"{summary['total_seconds']:.0f} s of work[/]",
        highlight=False,
    )


if __name__ == "__main__":
    main()
