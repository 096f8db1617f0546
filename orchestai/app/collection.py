"""Runs the starter corpus: some of it live on the real model, all of it on simulated workers, each once."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

from orchestai.app.runtime import Runtime, build_runtime
from orchestai.config import Project, RoutingConfig
from orchestai.contracts import Assignment, ExecutionResult, Instruction, Modality, Plan
from orchestai.errors import InputError
from orchestai.importers.starter import StarterRecord, read_starter
from orchestai.logs import ExecutionSource, read_executions
from orchestai.routing.assign import assign_workers, explore_workers
from orchestai.simulator import reference_answer
from orchestai.training.collect import CollectionItem, CollectionReport, OnDone, collect

LIVE = "corpus-live"
SIMULATED = "corpus-simulated"

_LIVE_MAX_SUBTASKS = 2
_CLIMB = 2
"""Rounds with the cheapest workers, the second cheapest and so on, before workers are drawn at random."""


def starter_items(
    project: Project, records: Sequence[StarterRecord], corpus: Path, *, live: int, rounds: int
) -> tuple[list[CollectionItem], list[CollectionItem]]:
    """Return the executions of a collection: those on real workers, and those on simulated ones.

    The live ones are training instructions that need chat calls only, at most 2 sub-tasks, the shortest first:
    the packaged model is a small one. Every instruction of the corpus runs `rounds` times on simulated workers,
    the cheapest first, so that the log shows what each can do. Ids are stable: collecting again does not repeat
    what is logged.

    Args:
        project: The configuration.
        records: The corpus.
        corpus: Its file or folder; media paths are relative to the folder.
        live: Executions on real workers.
        rounds: Executions of each instruction on simulated workers.

    Raises:
        InputError: The catalog has no worker of the kind that is asked for.
    """
    kinds = {worker.simulated for worker in project.workers.profiles()}
    for wanted, of_simulated, kind in ((live, False, "real"), (rounds, True, "simulated")):
        if wanted and of_simulated not in kinds:
            option = "--rounds" if of_simulated else "--live"
            raise InputError(
                f"The catalog has no {kind} worker, and {option} {wanted} asks for {kind} executions.",
                remedy=f"Use {option} 0, or add such a worker to dbt_like_configs/workers/.",
            )
    eligible = [record for record in records if record.split == "train" and _is_chat_only(project, record)]
    eligible.sort(key=_size)
    real = [_item(project, record, corpus, LIVE, 0) for record in eligible[:live]]
    simulated = [_item(project, record, corpus, SIMULATED, number) for number in range(rounds) for record in records]
    return real, simulated


def _size(record: StarterRecord) -> tuple[int, int, str]:
    chars = len(record.instruction) + sum(len(value) for value in record.inputs.values())
    return len(record.nodes), chars, hashlib.sha256(record.id.encode()).hexdigest()


def reference_answers(records: Sequence[StarterRecord]) -> dict[str, str]:
    """Return an accepted answer by instruction and by sub-task, for the simulated workers to know.

    Many prompts hold the description of a sub-task and not the instruction, so both are keys.
    """
    answers = {}
    for record in records:
        answer = reference_answer(record.acceptance)
        if answer is not None:
            answers[record.instruction] = answer
            answers.update((node.description, answer) for node in record.graph.nodes)
    return answers


def logged_executions(project: Project) -> frozenset[str]:
    """Return the ids of all executions in the log."""
    return frozenset(record.execution_id for record in read_executions(project.paths.execution_logs))


def collect_starter(
    project: Project,
    corpus: Path,
    *,
    live: int,
    rounds: int,
    on_done: OnDone | None = None,
) -> tuple[CollectionReport, CollectionReport]:
    """Run the starter corpus and log it; returns the reports of the live and of the simulated part.

    Raises:
        DataError: The corpus is not what it should be.
        EndpointError: The packaged model cannot start.
        StorageError: The log cannot be written.
    """
    records = read_starter(corpus)
    real, simulated = starter_items(project, records, corpus, live=live, rounds=rounds)
    done = logged_executions(project)
    # The packaged model answers two calls at a time; simulated workers only wait, so many run at once.
    live_report = _run(project, real, 2, done, on_done)
    playing = project.model_copy(update={"routing": RoutingConfig(simulated="allow")})
    simulated_report = _run(playing, simulated, 32, done, on_done, references=reference_answers(records))
    return live_report, simulated_report


def _run(
    project: Project,
    items: Sequence[CollectionItem],
    concurrency: int,
    done: frozenset[str],
    on_done: OnDone | None,
    references: dict[str, str] | None = None,
) -> CollectionReport:
    runtime = build_runtime(project, learned=False, references=references, guarded=False)
    try:
        return runtime.call(
            collect(
                items,
                lambda item: _execute(runtime, item),
                concurrency=concurrency,
                done=done,
                on_done=on_done,
            )
        )
    finally:
        runtime.close()


async def _execute(runtime: Runtime, item: CollectionItem) -> ExecutionResult:
    execution = await runtime.aexecute(item.instruction, item.plan, source=item.source, execution_id=item.execution_id)
    return execution.result


def _is_chat_only(project: Project, record: StarterRecord) -> bool:
    types = [project.tasks[node.task_type] for node in record.graph.nodes]
    return len(types) <= _LIVE_MAX_SUBTASKS and all(kind.modality is Modality.CHAT for kind in types)


def _item(project: Project, record: StarterRecord, corpus: Path, kind: str, number: int) -> CollectionItem:
    instruction = record.to_instruction(corpus if corpus.is_dir() else corpus.parent)
    execution_id = f"{kind}-{record.id}-{number}"
    if kind == LIVE:
        assignments = assign_workers(
            record.graph,
            instruction,
            tasks=project.tasks,
            workers=project.workers,
            routing=RoutingConfig(simulated="never"),
        )
    else:
        assignments = _simulated_workers(project, record, instruction, number, execution_id)
    return CollectionItem(
        instruction=instruction,
        plan=Plan(graph=record.graph, assignments=assignments, planner="corpus", confidence=1.0),
        source=ExecutionSource(kind=kind, example_id=record.id, template=record.template, split=record.split),
        execution_id=execution_id,
    )


def _simulated_workers(
    project: Project, record: StarterRecord, instruction: Instruction, number: int, execution_id: str
) -> tuple[Assignment, ...]:
    """Climb from the cheapest workers to dearer ones, then draw at random.

    The climb shows which is the cheapest worker that will do; the draws have propensities, without which no
    other policy could be judged by this log.
    """
    workers = project.workers.only_simulated()
    routing = RoutingConfig(simulated="allow")
    if number < _CLIMB:
        return assign_workers(
            record.graph, instruction, tasks=project.tasks, workers=workers, routing=routing, rank=number
        )
    return explore_workers(
        record.graph,
        instruction,
        tasks=project.tasks,
        workers=workers,
        routing=routing,
        rng=random.Random(execution_id),
    )
