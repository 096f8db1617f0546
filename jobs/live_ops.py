"""The ops of a live instruction; each does one thing and hands JSON on."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from jobs.live_state import Finished, LiveInstructionConfig, LiveState, SubtaskRequest
from orchestai.config import DagsterConfig
from orchestai.config.dagster import StepKind
from orchestai.contracts import ExecutionResult
from orchestai.logs import ExecutionSource
from resources.kubernetes import step_tags
from resources.orchestai_resource import OrchestAIResource

Json = dict[str, Any]

SHOWN = {"status", "task_type", "worker", "simulated", "attempts", "cost_usd", "latency_ms"}
"""Fields of a sub-task's record that its step shows."""


@dg.op(out=dg.Out(io_manager_key="step_files"), tags={"dagster/priority": "2"})
def plan(context: dg.OpExecutionContext, config: LiveInstructionConfig, orchestai: OrchestAIResource) -> Json:
    """Turn the instruction into a graph of sub-tasks with a worker for each, unless a plan is given.

    Personal data and secrets are taken out here, before a step's file holds them; the answer keeps placeholders.
    """
    given = config.to_plan()
    with orchestai.runtime(log=False, learned=given is None) as runtime:
        instruction = runtime.call(runtime.executions.admit(config.to_instruction(context.run_id)))
        made = given or runtime.plan(instruction, execution_id=context.run_id)
    context.add_output_metadata(
        {
            "planner": made.planner,
            "confidence": made.confidence,
            "subtasks": len(made.graph),
            "levels": len(made.graph.levels),
            "estimated_cost_usd": made.estimated_cost_usd,
            "fallback_reason": made.fallback_reason or "none",
            "plan": dg.MetadataValue.table(
                [
                    dg.TableRecord(
                        {
                            "subtask": node,
                            "task_type": made.graph.nodes[node].task_type,
                            "waits_for": ", ".join(map(str, made.graph.dependencies[node])),
                            "worker": made.assignments[node].worker,
                            "reason": made.assignments[node].reason,
                        }
                    )
                    for node in made.graph.topological_order
                ]
            ),
        }
    )
    return LiveState(execution_id=context.run_id, instruction=instruction, plan=made).model_dump(mode="json")


def fan_out_op(config: DagsterConfig) -> dg.OpDefinition:
    """Return the op that gives each ready sub-task of a level its own step, on the CPU or on the GPU."""
    gpu_workers = frozenset(config.gpu_workers)

    @dg.op(
        name="fan_out",
        out={
            "cpu": dg.DynamicOut(io_manager_key="step_files"),
            "gpu": dg.DynamicOut(io_manager_key="step_files"),
        },
    )
    def fan_out(context: dg.OpExecutionContext, state: Json) -> Iterator[dg.DynamicOutput[Json]]:
        """Start the sub-tasks whose parents have all answered; what is left of the budget is shared out equally."""
        live = LiveState.model_validate(state)
        ready = live.ready(level_of(context))
        budget = live.budget_left()
        if budget.usd is not None:
            budget = budget.model_copy(update={"usd": budget.usd / max(len(ready), 1)})
        instruction = live.instruction.model_copy(update={"budget": budget}).model_dump(mode="json")
        for node in ready:
            kind = "gpu" if live.plan.assignments[node].worker in gpu_workers else "cpu"
            value = {
                "index": node,
                "instruction": instruction,
                "plan": live.plan.model_dump(mode="json"),
                "dependency_outputs": live.dependency_outputs(node),
            }
            yield dg.DynamicOutput(value, output_name=kind, mapping_key=mapping_key(live, node))

    return fan_out


def subtask_op(config: DagsterConfig, kind: StepKind) -> dg.OpDefinition:
    """Return the op that runs one sub-task in the pool and with the resources of `kind`."""

    @dg.op(
        name=f"subtask_{kind}",
        pool=config.steps[kind].pool,
        tags=step_tags(config, kind),
        out=dg.Out(io_manager_key="step_files"),
    )
    def subtask(context: dg.OpExecutionContext, item: Json, orchestai: OrchestAIResource) -> Json:
        """Run one sub-task with its retries; a failure is handed on, so that the execution still gets logged."""
        request = SubtaskRequest.model_validate(item)
        # The plan is made: a runtime without planner and log starts faster and writes nothing.
        with orchestai.runtime(log=False, learned=False) as runtime:
            record, output = runtime.call(
                runtime.engine.run_subtask(request.instruction, request.plan, request.index, request.dependency_outputs)
            )
        if record.status != "done":
            context.log.error(f"Sub-task {record.index} ({record.task_type}) failed: {record.error}")
        context.add_output_metadata(
            {
                **record.model_dump(include=SHOWN),
                "error": record.error or "none",
                "answer": str(output.content or ""),
            }
        )
        return Finished(record=record, output=output).model_dump(mode="json")

    return subtask


@dg.op(
    out={
        "next_level": dg.Out(io_manager_key="step_files", is_required=False),
        "last": dg.Out(io_manager_key="step_files", is_required=False),
    }
)
def collect(context: dg.OpExecutionContext, state: Json, cpu: list[Json], gpu: list[Json]) -> Iterator[dg.Output[Json]]:
    """Add the answers of a level; the levels that follow are skipped when nothing is left to run."""
    live = LiveState.model_validate(state).with_finished(Finished.model_validate(item) for item in [*cpu, *gpu])
    more = any(live.ready(level) for level in range(level_of(context) + 1, len(live.plan.graph.levels)))
    yield dg.Output(live.model_dump(mode="json"), output_name="next_level" if more else "last")


@dg.op(out=dg.Out(io_manager_key="step_files"))
def integrate(context: dg.OpExecutionContext, states: list[Json], orchestai: OrchestAIResource) -> Json:
    """Combine the answers into one; exactly one level was the last."""
    live = LiveState.model_validate(states[0])
    with orchestai.runtime(log=False, learned=False) as runtime:
        result = runtime.engine.assemble(
            live.instruction,
            live.plan,
            {node: finished.record for node, finished in live.finished.items()},
            {node: finished.output for node, finished in live.finished.items()},
            execution_id=live.execution_id,
            total_latency_ms=live.critical_path_ms,
        )
    context.add_output_metadata({"answer": dg.MetadataValue.md(result.answer), "cost_usd": result.total_cost})
    return {"state": live.model_dump(mode="json"), "result": result.model_dump(mode="json")}


@dg.op(out=dg.Out(io_manager_key="step_files"))
def judge(context: dg.OpExecutionContext, execution: Json) -> Json:
    """Show whether the answer was accepted; one that was not is a result and no failure of the run."""
    result = ExecutionResult.model_validate(execution["result"])
    checks = [
        dg.TableRecord({"check": outcome.check.model_dump_json(exclude_defaults=True), "held": outcome.held})
        for outcome in result.checks
    ]
    context.add_output_metadata(
        {
            "success": result.success,
            "completed": result.completed,
            "error": result.error or "none",
            "checks": dg.MetadataValue.table(checks) if checks else "no acceptance checks were given",
        }
    )
    return execution


@dg.op(out=dg.Out(io_manager_key="step_files"))
def log_execution(execution: Json, orchestai: OrchestAIResource) -> Json:
    """Take the execution down, whatever became of it; it is on disk when this step ends."""
    live = LiveState.model_validate(execution["state"])
    result = ExecutionResult.model_validate(execution["result"])
    with orchestai.runtime(learned=False) as runtime:
        runtime.log(live.instruction, live.plan, result, ExecutionSource(kind="live"))
    return execution


@dg.op
def report(context: dg.OpExecutionContext, execution: Json) -> None:
    """Fail the run if a sub-task failed; by now the execution is logged."""
    result = ExecutionResult.model_validate(execution["result"])
    metadata: dict[str, Any] = {
        "execution_id": result.execution_id,
        "answer": dg.MetadataValue.md(result.answer),
        "success": result.success,
        "cost_usd": result.total_cost,
        "latency_ms": result.total_latency_ms,
        "retries": result.retry_count,
        "simulated": result.simulated,
    }
    if not result.completed:
        raise dg.Failure(
            description=f"The execution did not complete: {result.error}", metadata=metadata, allow_retries=False
        )
    context.add_output_metadata(metadata)


def level_of(context: dg.OpExecutionContext) -> int:
    """Return the level that a step belongs to; its alias ends with it."""
    return int(context.op_handle.name.rsplit("_", 1)[1])


def mapping_key(live: LiveState, node: int) -> str:
    """Return the name of a sub-task's step: its index and, as far as Dagster allows, its type."""
    task_type = live.plan.graph.nodes[node].task_type
    return f"{node:02d}_" + "".join(char if char.isalnum() and char.isascii() else "_" for char in task_type)
