"""One run = one instruction; every sub-task is a step of its own.

Dagster cannot map over a mapped step, so the graph of sub-tasks is unrolled by topological level. A level has one
dynamic fan-out for CPU and remote sub-tasks and one for GPU sub-tasks, because pools and Kubernetes resources belong
to the definition of an op and all clones of one op share them. Levels that a plan does not have are skipped.
"""

import dagster as dg

from jobs import live_ops
from jobs.keys import LIVE_INSTRUCTION
from orchestai.config import Project
from orchestai.contracts import MAX_SUBTASKS
from resources.executors import executor_for


def live_instruction_graph(project: Project, levels: int = MAX_SUBTASKS) -> dg.GraphDefinition:
    """Return the graph, unrolled to `levels` levels: a chain of the largest plan needs as many as it has sub-tasks.

    Raises:
        InputError: `dagster.gpu_workers` names a worker that the project does not have.
    """
    for name in project.dagster.gpu_workers:
        _ = project.workers[name]
    fan_out = live_ops.fan_out_op(project.dagster)
    on_cpu = live_ops.subtask_op(project.dagster, "cpu")
    on_gpu = live_ops.subtask_op(project.dagster, "gpu")

    @dg.graph(name=LIVE_INSTRUCTION)
    def live_instruction() -> None:
        state = live_ops.plan()
        last = []
        for level in range(levels):
            ready = fan_out.alias(f"level_{level:02d}")(state)
            cpu = ready.cpu.map(on_cpu.alias(f"subtask_cpu_{level:02d}"))
            gpu = ready.gpu.map(on_gpu.alias(f"subtask_gpu_{level:02d}"))
            done = live_ops.collect.alias(f"collect_{level:02d}")(state, cpu.collect(), gpu.collect())
            state = done.next_level
            last.append(done.last)
        live_ops.report(live_ops.log_execution(live_ops.judge(live_ops.integrate(last))))

    return live_instruction


def live_instruction_job(project: Project) -> dg.JobDefinition:
    """Return the job."""
    return live_instruction_graph(project).to_job(
        name=LIVE_INSTRUCTION,
        description="Plans one instruction, runs each sub-task in a step of its own, and logs the execution.",
        executor_def=executor_for(project.dagster, cuda=bool(project.dagster.gpu_workers)),
        tags={"orchestai/kind": "live"},
    )
