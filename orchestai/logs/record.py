"""One execution as it is logged: the documented fields, and what learning needs beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic_core import PydanticSerializationError

from orchestai.contracts import (
    AcceptanceCheck,
    Budget,
    CheckResult,
    ExecutionResult,
    Instruction,
    Plan,
    Priority,
    ServedBy,
    Split,
    SubtaskRecord,
    TaskCatalog,
    WorkerCatalog,
)
from orchestai.contracts.base import Record
from orchestai.errors import DataError, InputError
from orchestai.logs.codec import LineError, decode_line, encode_line, seal_line, to_json

SCHEMA_VERSION: Literal[1] = 1
UNKNOWN = -1
"""Id of a task type or worker that the catalog does not have."""

_MAX_DATA_URL_CHARS = 64 * 1024
_ANYTHING = TypeAdapter(dict[str, Any])

Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Id = Annotated[int, Field(ge=-(2**31), lt=2**31)]


class ExecutionSource(Record):
    """Where the instruction came from.

    Attributes:
        kind: `live`, `corpus`, `synthetic`, `benchmark`, ...
        example_id: The example, if it is one of a corpus.
        template: Family of the example; a family never spans two splits.
        split: Where the corpus puts it.
        user: Who asked, where the host knows: the name of a token of the service.
        request_id: The request that it came with.
        traceparent: That request as the parent of what is traced (W3C Trace Context).
    """

    kind: str = "live"
    example_id: str | None = None
    template: str | None = None
    split: Split | None = None
    user: str | None = None
    request_id: str | None = None
    traceparent: str | None = None

    @property
    def trace_id(self) -> str | None:
        """The trace that the request belongs to."""
        return self.traceparent.split("-")[1] if self.traceparent else None


class GraphRecord(BaseModel):
    """The planned graph as the document has it: `adjacency[parent][child]` is 1 for an edge."""

    model_config = ConfigDict(frozen=True, extra="allow")

    adjacency: tuple[tuple[Id, ...], ...] = ()


class PlannerRecord(BaseModel):
    """What the planner decided; planners may add outputs of their own.

    Attributes:
        model_selections: Id of the worker of each node.
        workflow_graph: The graph.
        task_types: Id of the task type of each node.
        dependencies: Parents of each node, the transpose of the adjacency.
        workers: Names behind `model_selections`; ids shift when a catalog grows, names do not.
        task_type_names: Names behind `task_types`.
        planner: Who made the plan.
        confidence: Probability that the graph is right; 1 for a plan that was given, null where the
            planner has none, as in `Plan`.
        model_version: Checkpoint that made it.
        fallback_reason: Why the learned planner did not make it.
        latency_ms: Time that planning took.
        planning_cost_usd: What a language model was paid for planning; a part of the execution's cost.
        planning_tokens: What it read and wrote.
        plan_id: Identity of the plan.
        serving: Which version of the registry made it, and in which comparison; null without a registry.
    """

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    model_selections: tuple[Id, ...] = ()
    workflow_graph: GraphRecord = GraphRecord()
    task_types: tuple[Id, ...] = ()
    dependencies: tuple[tuple[Id, ...], ...] | None = None
    workers: tuple[str, ...] = ()
    task_type_names: tuple[str, ...] = ()
    planner: str | None = None
    confidence: Annotated[Finite, Field(ge=0, le=1)] | None = 1.0
    model_version: str | None = None
    fallback_reason: str | None = None
    latency_ms: Finite | None = None
    planning_cost_usd: Finite = 0.0
    planning_tokens: int = 0
    plan_id: str | None = None
    serving: ServedBy | None = None


class ExecutionLogRecord(Record):
    """One line of the execution log.

    Attributes:
        timestamp: When the execution ended, UTC.
        instruction: The instruction's text.
        success: A check or a judge accepted the answer; without either, every sub-task completed.
        cost: Dollars.
        latency_ms: Milliseconds.
        planner_outputs: What the planner decided.
        execution_result: The documented fields of the result.
        execution_id: Identity of the execution.
        instruction_id: Identity of the request.
        inputs: Material by name; a data URL of more than 64 KiB is kept as its hash only.
        constraints: Conditions that the answer had to meet.
        priority: How urgent it was.
        budget: Limits in dollars, tokens and seconds.
        attempt: Which try at this execution it is; a resumed execution is the next one.
        sequence: Place among several records of the same attempt.
        schema_version: Version of this format.
        writer: Host and process that wrote the line.
        tenant: Whose request it was.
        simulated: Whether any simulated worker answered.
        completed: Every sub-task ran to its end.
        subtasks: What was measured of each sub-task.
        acceptance: The checks that were asked for.
        checks: What became of them.
        source: Where the instruction came from.
    """

    timestamp: datetime
    instruction: str
    success: bool
    cost: Finite
    latency_ms: Finite
    planner_outputs: PlannerRecord
    execution_result: dict[str, Any]
    execution_id: str = Field(min_length=1)
    instruction_id: str = ""
    inputs: dict[str, str] = Field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    priority: Priority = "normal"
    budget: Budget = Budget()
    attempt: Count = 1
    sequence: Count = 0
    schema_version: Literal[1] = SCHEMA_VERSION
    writer: str = ""
    tenant: str = "default"
    simulated: bool = False
    completed: bool
    subtasks: tuple[SubtaskRecord, ...] = ()
    acceptance: tuple[AcceptanceCheck, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    source: ExecutionSource = ExecutionSource()

    @field_validator("timestamp")
    @classmethod
    def _to_utc(cls, timestamp: datetime) -> datetime:
        """Take a time without zone for UTC, as the documented files write it."""
        try:
            return timestamp.replace(tzinfo=UTC) if timestamp.tzinfo is None else timestamp.astimezone(UTC)
        except OverflowError as error:
            raise ValueError(f"`timestamp` is out of range in UTC: {timestamp}.") from error

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        if self.latency_ms < 0:
            raise ValueError(f"`latency_ms` must be >= 0, got {self.latency_ms}.")
        return self

    @property
    def key(self) -> tuple[str, int, int]:
        """What makes two lines the same record."""
        return (self.execution_id, self.attempt, self.sequence)

    @classmethod
    def of(
        cls,
        instruction: Instruction,
        plan: Plan,
        result: ExecutionResult,
        *,
        tasks: TaskCatalog,
        workers: WorkerCatalog,
        source: ExecutionSource | Mapping[str, Any] | str = "live",
        attempt: int = 1,
        sequence: int = 0,
        tensors: Mapping[str, Any] | None = None,
        full_planner_outputs: bool = False,
        timestamp: datetime | None = None,
    ) -> ExecutionLogRecord:
        """Return the record of an execution that ended just now.

        Args:
            instruction: What was asked.
            plan: What was planned.
            result: What came of it.
            tasks: Gives task types their ids; `UNKNOWN` for one it lacks, so that nothing goes unlogged.
            workers: Gives workers their ids, likewise.
            source: Where the instruction came from; a string is its kind.
            attempt: Which try at this execution it is.
            sequence: Place among several records of the attempt.
            tensors: More outputs of the planner by name, such as embeddings.
            full_planner_outputs: Whether arrays keep their values (`logs.full_planner_outputs`).
            timestamp: When it ended; now if not given.
        """
        if isinstance(source, str):
            source = {"kind": source}
        names = tuple(node.task_type for node in plan.graph.nodes)
        chosen = tuple(assignment.worker for assignment in plan.assignments)
        planner_outputs = {
            **to_json(tensors or {}, full=full_planner_outputs),
            "model_selections": [_id(workers.names, name) for name in chosen],
            "workflow_graph": {"adjacency": plan.graph.adjacency()},
            "task_types": [_id(tasks.names, name) for name in names],
            "dependencies": plan.graph.dependencies,
            "workers": chosen,
            "task_type_names": names,
            "planner": plan.planner,
            "confidence": plan.confidence,
            "model_version": plan.model_version,
            "fallback_reason": plan.fallback_reason,
            "latency_ms": plan.latency_ms,
            "planning_cost_usd": plan.planning_cost_usd,
            "planning_tokens": plan.planning_tokens,
            "plan_id": plan.id,
            "serving": plan.serving,
            "propensities": [assignment.propensity for assignment in plan.assignments],
            **_routing(plan),
            "complexities": [node.complexity for node in plan.graph.nodes],
        }
        documented = {
            "success": result.success,
            "outputs": result.outputs,
            "total_cost": result.total_cost,
            "total_latency_ms": result.total_latency_ms,
            "workflow_graph": result.workflow_graph,
            "error": result.error,
            "retry_count": result.retry_count,
            "task_metrics": result.task_metrics,
            **({} if result.review is None else {"review": result.review.model_dump()}),
        }
        return cls(
            timestamp=timestamp or datetime.now(UTC),
            instruction=instruction.text,
            success=result.success,
            cost=result.total_cost,
            latency_ms=result.total_latency_ms,
            planner_outputs=PlannerRecord.model_validate(planner_outputs),
            execution_result=_plain(documented),
            execution_id=result.execution_id,
            instruction_id=instruction.id,
            inputs={name: _shorten(value) for name, value in instruction.inputs.items()},
            constraints=instruction.constraints,
            priority=instruction.priority,
            budget=instruction.budget,
            attempt=attempt,
            sequence=sequence,
            tenant=instruction.tenant,
            simulated=result.simulated,
            completed=result.completed,
            subtasks=result.subtasks,
            acceptance=instruction.acceptance,
            checks=result.checks,
            source=ExecutionSource.model_validate(source),
        )

    def to_line(self) -> bytes:
        """Return the record as a line with its CRC, without the line break.

        Raises:
            DataError: It is nested too deeply for JSON.
        """
        try:
            return seal_line(self.__pydantic_serializer__.to_json(self))
        except (PydanticSerializationError, UnicodeEncodeError):
            pass  # something that JSON does not know: taken apart piece by piece
        try:
            return encode_line(to_json(self.model_dump()))
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"Execution {self.execution_id} cannot be logged: {error}.",
                remedy="Keep outputs to flat JSON values.",
            ) from error

    @classmethod
    def from_line(cls, line: bytes, *, plain: bool = False) -> ExecutionLogRecord:
        """Return the record that a line holds.

        Args:
            line: Without the line break.
            plain: Whether it may be a line of the documented daily file: no CRC, no ids. Such a record
                gets an execution id from the hash of its content, the same each time it is read.

        Raises:
            LineError: The line is not a record.
        """
        try:
            fields = decode_line(line, crc_required=not plain)
            if plain and "execution_id" not in fields:
                fields = _complete(fields)
        except RecursionError as error:
            raise LineError("json", "nested too deeply") from error
        version = fields.get("schema_version")
        if version != SCHEMA_VERSION:
            raise LineError("schema", f"schema_version is {version!r:.40}; this release reads {SCHEMA_VERSION}")
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise LineError("schema", f"{place}: {first['msg']}"[:300]) from error
        except (InputError, RecursionError) as error:
            raise LineError("schema", str(error)[:300]) from error


def _routing(plan: Plan) -> dict[str, Any]:
    """What a router expected, and whom it might have chosen: nothing where none was asked."""
    if plan.router_version is None:
        return {}
    return {
        "router_version": plan.router_version,
        "candidate_propensities": [assignment.propensities for assignment in plan.assignments],
        "predicted_success": [assignment.predicted_success for assignment in plan.assignments],
        "predicted_cost_usd": [assignment.predicted_cost_usd for assignment in plan.assignments],
        "predicted_latency_ms": [assignment.estimated_latency_ms for assignment in plan.assignments],
    }


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Return `fields` in terms of JSON; by the quick way if nothing in them needs more."""
    try:
        plain: dict[str, Any] = _ANYTHING.dump_python(fields, mode="json")
    except (PydanticSerializationError, UnicodeEncodeError, RecursionError, ValueError):
        plain = to_json(fields)
    return plain


def _shorten(value: str) -> str:
    if value.startswith("data:") and len(value) > _MAX_DATA_URL_CHARS:
        return f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"
    return value


def _id(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else UNKNOWN


def _complete(fields: dict[str, Any]) -> dict[str, Any]:
    """Give a documented line what our own format adds, as far as it can be known."""
    content = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    documented = ("timestamp", "instruction", "success", "cost", "latency_ms")
    result = fields.get("execution_result")
    result = result if isinstance(result, dict) else {}
    return {
        **{key: fields[key] for key in documented if key in fields},
        "planner_outputs": fields.get("planner_outputs") or {},
        "execution_result": result,
        "execution_id": f"plain-{hashlib.sha256(content).hexdigest()[:32]}",
        "schema_version": SCHEMA_VERSION,
        "completed": result.get("completed", fields.get("success")),
        "source": {"kind": "plain"},
    }
