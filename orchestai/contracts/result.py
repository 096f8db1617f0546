"""What came of an execution."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from orchestai.contracts.acceptance import CheckResult
from orchestai.contracts.base import Record
from orchestai.contracts.graph import WorkflowGraph

COMBINED = -1
"""Key of the combined answer in `ExecutionResult.outputs`."""

SubtaskStatus = Literal["waiting", "running", "retrying", "done", "failed", "skipped"]


class WorkerOutput(Record):
    """Answer of a worker to one sub-task; the fields of the OrchestAI data-flow document.

    Attributes:
        content: The answer itself.
        metadata: `input_tokens`, `output_tokens`, `model`, `simulated`, `confidence`, `finish_reason`.
        cost: Dollars.
        latency_ms: Milliseconds.
        success: Whether the call gave an answer.
        error: What went wrong otherwise.
    """

    content: Any = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    cost: float = 0.0
    latency_ms: float = 0.0
    success: bool = True
    error: str | None = None


class SubtaskRecord(Record):
    """What the engine measured of one sub-task.

    Attributes:
        index: Node in the graph.
        task_type: Name of its type.
        description: What was asked.
        worker: Who answered last.
        gave_up: Workers tried before that one, in order.
        simulated: Whether that worker is simulated.
        status: `done`, `failed`, or `skipped` because a parent failed.
        attempts: Calls made, retries included.
        input_tokens: Over all attempts.
        output_tokens: Over all attempts.
        cost_usd: Over all attempts.
        latency_ms: From ready to finished, pauses between attempts included.
        propensity: Probability with which the policy chose this worker.
        prompt_version: Template that made the prompt.
        error: Code and message of the last failure.
    """

    index: int
    task_type: str
    description: str = ""
    worker: str
    gave_up: tuple[str, ...] = ()
    simulated: bool = False
    status: SubtaskStatus
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    latency_ms: float = 0.0
    propensity: float | None = None
    prompt_version: str | None = None
    error: str | None = None


class Review(Record):
    """What a judge said of the answer in the end.

    Attributes:
        accepted: Whether it may be given to the user.
        score: Probability that it is right, as the judge sees it.
        reason: Why.
        by: Who judged: `checks`, `model`, or `nobody` where the judge failed.
        repairs: Times that the answer was mended.
        cost_usd: What judging took.
        input_tokens: What judging took.
        output_tokens: What judging took.
    """

    accepted: bool
    score: float = Field(ge=0, le=1)
    reason: str = ""
    by: str = "model"
    repairs: int = 0
    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0


class ExecutionResult(Record):
    """One pass of the engine over a plan; the fields of the OrchestAI data-flow document, and ours.

    Attributes:
        success: The checks and the judge accepted the answer; without either, every sub-task completed.
        outputs: Content by node, and the combined answer under -1.
        total_cost: Dollars.
        total_latency_ms: Milliseconds from start to end.
        workflow_graph: The graph, if it was asked for.
        error: What went wrong.
        retry_count: Retries over all sub-tasks.
        task_metrics: By node: `cost`, `latency_ms`, `worker`, `success`, `attempts`.
        execution_id: Identity of the execution.
        completed: Every sub-task ran to its end.
        checks: What became of the acceptance checks; empty when there were none.
        review: What a judge said of the answer; null without a judge.
        subtasks: What was measured of each sub-task.
    """

    success: bool
    outputs: dict[int, Any]
    total_cost: float
    total_latency_ms: float
    workflow_graph: WorkflowGraph | None = None
    error: str | None = None
    retry_count: int = 0
    task_metrics: dict[int, dict[str, Any]] = Field(default_factory=dict)
    execution_id: str
    completed: bool
    checks: tuple[CheckResult, ...] = ()
    review: Review | None = None
    subtasks: tuple[SubtaskRecord, ...] = ()

    @property
    def answer(self) -> str:
        """The combined answer as text."""
        return str(self.outputs.get(COMBINED, ""))

    @property
    def accepted(self) -> bool:
        """Whether a check or a judge accepted the answer; `success` may also mean that nobody looked."""
        looked = bool(self.checks) or (self.review is not None and self.review.by != "nobody")
        return self.success and looked

    @property
    def simulated(self) -> bool:
        """Whether a simulated worker took part."""
        return any(subtask.simulated for subtask in self.subtasks)


class ExecutionEvent(Record):
    """One change of state that a host may show while the engine runs; `content` comes with `done`.

    `anomaly` comes with the end of a sub-task whose worker is watched: its score, above 1 for one unlike itself.
    """

    execution_id: str
    index: int
    status: SubtaskStatus
    worker: str
    attempt: int = 0
    cost_usd: float = 0.0
    latency_ms: float = 0.0
    error: str | None = None
    content: Any = None
    anomaly: float | None = None
