"""Every error that OrchestAI raises, drawn once.

OrchestAIError                     code, remedy
├── InputError                     the caller's input is wrong (HTTP 400, CLI exit 2)
│   ├── InstructionError           empty, too long, binary
│   ├── IdempotencyError           one key for two different requests
│   ├── ConfigError                problems: one entry a wrong key, with file, line and remedy
│   ├── PlanError                  a graph that cannot be run
│   │   ├── CycleError             cycle: the indices that form it
│   │   └── DanglingDependencyError
│   ├── DataError                  a file or table that is not what it should be
│   └── CheckpointError            does not match its manifest, its catalog or this version
├── RefusedError                   the instruction is an attack (HTTP 403, CLI exit 3)
├── WorkerError                    worker: who failed
│   ├── TransientWorkerError       worth another try
│   │   ├── RateLimitedError       retry_after_s
│   │   ├── BreakerOpenError       retry_after_s: not even called, because it failed again and again
│   │   │   └── WorkersAwayError   reasons: by worker; all who could do a sub-task are left alone
│   │   ├── WorkerTimeoutError
│   │   ├── WorkerUnavailableError refused, reset, 5xx
│   │   └── MalformedResponseError not the format that was asked for
│   ├── WorkerAuthError            401 and 403: no or wrong key
│   ├── WorkerRequestError         400, 404, 413, 422: the request itself is refused
│   ├── NoWorkerError              no worker offers what the sub-task needs
│   ├── NoArmError                 no arm that is available offers a capability
│   └── SandboxUnavailableError    code cannot be confined on this machine, so it is not run
├── ChannelError                   a direct message between arms that is not allowed
├── MessageError                   a message that the bus refuses, or cannot deliver
│   └── LeaseLostError             a message that was taken too long ago: somebody else has it
├── ResourceLimitError             a limit of ours or the caller's is reached
│   ├── OverloadedError            worker, retry_after_s: too many calls wait already
│   ├── BudgetExceededError
│   ├── InfeasibleError        no assignment keeps to budget, success target and time limit
│   └── DeadlineExceededError
├── ApprovalNeededError            a person has to allow the plan; execution_id, expires
├── ExecutionStoppedError          somebody cancelled it
├── UnknownOutcomeError            a call with external effects was cut off by a crash
├── RegistryError                  the model registry
│   ├── RegistryUnreachableError   it does not answer; what is served stays
│   └── RegistryConflictError      somebody else changed it meanwhile
├── StorageError                   disk full, no permission, path: where
└── EndpointError                  a local server cannot start: port taken, model missing
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class OrchestAIError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: What is wrong, with the thing and the value.
        remedy: What the reader can do about it.
    """

    code = "internal"

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by state: subclasses have keyword-only fields, which the default would lose."""
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


def _rebuild(cls: type[OrchestAIError], args: tuple[Any, ...], state: dict[str, Any]) -> OrchestAIError:
    error = cls.__new__(cls)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class InputError(OrchestAIError):
    """The caller's input is wrong; trying again unchanged cannot help."""

    code = "invalid_input"


class InstructionError(InputError):
    """An instruction that cannot be accepted."""

    code = "invalid_instruction"


class IdempotencyError(InputError):
    """A key that stands for another request already."""

    code = "idempotency_key_reused"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The idempotency key {key!r} was used for another request.",
            remedy="Send the very same request again, or a new key.",
        )
        self.key = key


@dataclass(frozen=True)
class ConfigProblem:
    """One wrong key: where it stands, what is wrong with it, what to write instead."""

    file: str
    line: int | None
    key: str
    message: str
    remedy: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else self.file
        tail = f" {self.remedy}" if self.remedy else ""
        return f"{place}: {self.key}: {self.message}{tail}"


class ConfigError(InputError):
    """The configuration is wrong; all problems are reported together."""

    code = "invalid_config"

    def __init__(self, problems: list[ConfigProblem]) -> None:
        plural = "problem" if len(problems) == 1 else "problems"
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"{len(problems)} {plural} in the configuration:\n{lines}")
        self.problems = problems


class PlanError(InputError):
    """A plan that cannot be run."""

    code = "invalid_plan"


class CycleError(PlanError):
    """The sub-tasks wait for each other in a circle."""

    code = "cyclic_plan"

    def __init__(self, cycle: list[int]) -> None:
        path = " -> ".join(str(node) for node in [*cycle, cycle[0]])
        super().__init__(
            f"The sub-tasks depend on each other in a circle: {path}.",
            remedy="Remove one of these dependencies.",
        )
        self.cycle = cycle


class DanglingDependencyError(PlanError):
    """A sub-task depends on one that does not exist."""

    code = "dangling_dependency"

    def __init__(self, node: int, dependency: int, size: int) -> None:
        super().__init__(
            f"Sub-task {node} depends on {dependency}, but the plan has the sub-tasks 0..{size - 1}.",
            remedy="Name existing sub-tasks only.",
        )
        self.node = node
        self.dependency = dependency


class DataError(InputError):
    """A file or table that is not what it should be."""

    code = "invalid_data"


class CheckpointError(InputError):
    """A checkpoint that does not match its manifest, its catalog or this version."""

    code = "invalid_checkpoint"


class RefusedError(OrchestAIError):
    """An instruction that tries to change the rules of the system."""

    code = "refused"


class WorkerError(OrchestAIError):
    """A worker failed.

    Args:
        message: What happened.
        worker: Name of the worker.
        remedy: What the reader can do about it.
    """

    code = "worker_failed"

    def __init__(self, message: str, *, worker: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.worker = worker


class TransientWorkerError(WorkerError):
    """A failure that another try may cure."""

    code = "worker_transient"


class RateLimitedError(TransientWorkerError):
    """The worker asks for a pause (429).

    Args:
        message: What the worker said.
        worker: Name of the worker.
        retry_after_s: Seconds the worker asked to wait, if it said so.
    """

    code = "rate_limited"

    def __init__(self, message: str, *, worker: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, worker=worker)
        self.retry_after_s = retry_after_s


class BreakerOpenError(TransientWorkerError):
    """The worker failed again and again and is left alone for a while; the call was not made.

    Args:
        worker: Name of the worker.
        retry_after_s: Seconds until it is tried again.
    """

    code = "breaker_open"

    def __init__(self, *, worker: str, retry_after_s: float) -> None:
        super().__init__(
            f"Worker {worker!r} failed again and again; it is not called for another {retry_after_s:.1f} s.",
            worker=worker,
            remedy="Use another worker, or wait.",
        )
        self.retry_after_s = retry_after_s


class WorkersAwayError(BreakerOpenError):
    """Everybody who could do a sub-task is left alone for a while; nothing was run, and nothing spent.

    Its code is that of `BreakerOpenError`: for a caller it is the same, to come back when the time is over.

    Args:
        task_type: The kind of sub-task.
        reasons: Why each of those workers should not be called now.
        retry_after_s: Seconds until the first of them is tried again.
    """

    def __init__(self, task_type: str, reasons: dict[str, str], *, retry_after_s: float) -> None:
        super().__init__(worker=", ".join(reasons), retry_after_s=retry_after_s)
        listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        self.message = (
            f"Nobody can do {task_type!r} now, so nothing was run ({listed}). The first of them is tried again in "
            f"{retry_after_s:.1f} s."
        )
        self.args = (self.message,)
        self.remedy = "Wait that long, or add another worker for it."
        self.task_type = task_type
        self.reasons = reasons


class WorkerTimeoutError(TransientWorkerError):
    """No complete answer within the time allowed."""

    code = "worker_timeout"


class WorkerUnavailableError(TransientWorkerError):
    """Connection refused or reset, or a 5xx answer."""

    code = "worker_unavailable"


class MalformedResponseError(TransientWorkerError):
    """An answer that is not in the format that was asked for.

    Args:
        message: What is wrong with it.
        worker: Name of the worker.
        remedy: What the reader can do about it.
        answer: The text, if there was one: whoever asked may know how to repair it.
    """

    code = "malformed_response"

    def __init__(self, message: str, *, worker: str, remedy: str | None = None, answer: str | None = None) -> None:
        super().__init__(message, worker=worker, remedy=remedy)
        self.answer = answer


class WorkerAuthError(WorkerError):
    """The worker wants a key, or another one."""

    code = "worker_auth"


class WorkerRequestError(WorkerError):
    """The worker refuses the request itself."""

    code = "worker_request"


class NoWorkerError(WorkerError):
    """No worker of the catalog offers what a sub-task needs."""

    code = "no_worker"

    def __init__(self, task_type: str, modality: str) -> None:
        super().__init__(
            f"No worker offers {modality!r}, which the sub-task type {task_type!r} needs.",
            worker="(none)",
            remedy="Add a worker with that modality to dbt_like_configs/workers/.",
        )
        self.task_type = task_type
        self.modality = modality


class NoArmError(WorkerError):
    """No arm that is available offers a capability."""

    code = "no_arm"

    def __init__(self, capability: str, *, offered: list[str]) -> None:
        super().__init__(
            f"No available arm offers {capability!r}.",
            worker="(none)",
            remedy=f"Register or enable one; offered now: {', '.join(offered) or '(nothing)'}.",
        )
        self.capability = capability
        self.offered = offered


class SandboxUnavailableError(WorkerError):
    """Code cannot be confined on this machine, so it is not run."""

    code = "sandbox_unavailable"


class ChannelError(OrchestAIError):
    """A direct message between arms that is not allowed: undeclared, forged, or beyond its sender's grant."""

    code = "channel_refused"


class MessageError(OrchestAIError):
    """A message that the bus refuses, or cannot deliver."""

    code = "message_refused"


class LeaseLostError(MessageError):
    """A message was taken from the queue, and too much time has passed: it may be somebody else's by now."""

    code = "lease_lost"

    def __init__(self, message_id: str) -> None:
        super().__init__(
            f"The lease of the message {message_id} has run out, and the message was given to another or ended.",
            remedy="Extend leases while you work, or open the queue with a longer `visibility_s`.",
        )
        self.message_id = message_id


class ResourceLimitError(OrchestAIError):
    """A limit is reached."""

    code = "resource_limit"


class OverloadedError(ResourceLimitError):
    """Too many calls wait for a worker already; this one is turned away at once.

    Args:
        worker: Name of the worker.
        waiting: Calls of the same tenant that wait for it.
        retry_after_s: Guess of when that will be better, if there is one.
    """

    code = "overloaded"

    def __init__(self, *, worker: str, waiting: int, retry_after_s: float | None = None) -> None:
        super().__init__(
            f"{waiting} calls wait for worker {worker!r} already; no more are let in.",
            remedy="Try again later, use another worker, or raise `engine.limits.max_waiting`.",
        )
        self.worker = worker
        self.waiting = waiting
        self.retry_after_s = retry_after_s


class BudgetExceededError(ResourceLimitError):
    """The next sub-task could take more than is left.

    Args:
        needed_usd: Worst-case price of the next call.
        left_usd: What is left of the budget.
    """

    code = "budget_exceeded"

    def __init__(self, needed_usd: float, left_usd: float) -> None:
        super().__init__(
            f"The next sub-task may cost ${needed_usd:.6f}, but ${left_usd:.6f} of the budget is left.",
            remedy="Raise the budget in dollars or allow cheaper workers.",
        )
        self.needed_usd: float | None = needed_usd
        self.left_usd: float | None = left_usd
        self.needed_tokens: int | None = None
        self.left_tokens: int | None = None

    @classmethod
    def of_tokens(cls, needed: int, left: int) -> BudgetExceededError:
        """Return the error for a budget in tokens."""
        error = cls(0.0, 0.0)
        error.message = f"The next sub-task may take {needed} tokens, but {left} of the budget are left."
        error.remedy = "Raise the budget in tokens."
        error.needed_usd = error.left_usd = None
        error.needed_tokens, error.left_tokens = needed, left
        return error


class InfeasibleError(ResourceLimitError):
    """No assignment of workers keeps to all limits of a plan; nothing was run.

    Args:
        budget_usd: The budget, if there is one.
        min_success: The success target, if there is one.
        max_latency_ms: The time limit, if there is one.
        cheapest_usd: The least that a plan costs which keeps to the other limits; None if there is none.
        best_success: The most success that can be had within the other limits.
        fastest_ms: The least time within the other limits.
        cheapest_workers: Columns of the workers of that cheapest plan.
        cheapest_names: Their names, where they are known.
    """

    code = "infeasible"

    def __init__(
        self,
        *,
        budget_usd: float | None,
        min_success: float | None,
        max_latency_ms: float | None,
        cheapest_usd: float | None,
        best_success: float | None,
        fastest_ms: float | None,
        cheapest_workers: tuple[int, ...] = (),
        cheapest_names: tuple[str, ...] = (),
    ) -> None:
        limits = [
            None if budget_usd is None else f"a budget of ${budget_usd:.6f}",
            None if min_success is None else f"a success of at least {min_success:.4f}",
            None if max_latency_ms is None else f"at most {max_latency_ms:.0f} ms",
        ]
        ways = [
            None if cheapest_usd is None else f"a budget of ${cheapest_usd:.6f}, the cheapest feasible",
            None if best_success is None else f"a success target of {best_success:.4f}",
            None if fastest_ms is None else f"a limit of {fastest_ms:.0f} ms",
        ]
        if cheapest_usd is not None and cheapest_names:
            ways[0] = f"{ways[0]} ({', '.join(cheapest_names)})"
        found = " or ".join(filter(None, ways))
        super().__init__(
            f"No assignment of workers keeps to {' and '.join(filter(None, limits))}.",
            remedy=f"What would do, other limits kept: {found}." if found else "Loosen more than one limit.",
        )
        self.budget_usd = budget_usd
        self.min_success = min_success
        self.max_latency_ms = max_latency_ms
        self.cheapest_usd = cheapest_usd
        self.best_success = best_success
        self.fastest_ms = fastest_ms
        self.cheapest_workers = cheapest_workers
        self.cheapest_names = cheapest_names


class DeadlineExceededError(ResourceLimitError):
    """The time allowed for the whole execution is over."""

    code = "deadline_exceeded"


class ApprovalNeededError(OrchestAIError):
    """A person has to allow the plan before it runs.

    Args:
        execution_id: What waits.
        reason: Why a person is asked.
        expires: Unix time at which it ends by itself.
    """

    code = "approval_needed"

    def __init__(self, execution_id: str, reason: str, expires: float) -> None:
        super().__init__(
            f"Execution {execution_id} waits for approval: {reason}.",
            remedy=f"Allow it with `orchestai approve {execution_id}`, or refuse it with `--reject`.",
        )
        self.execution_id = execution_id
        self.reason = reason
        self.expires = expires


class ExecutionStoppedError(OrchestAIError):
    """Somebody ended the execution before it was through."""

    code = "cancelled"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The execution was stopped: {reason}.")
        self.reason = reason


class UnknownOutcomeError(OrchestAIError):
    """A call with external effects was begun, and the process ended before it told how it went."""

    code = "unknown_outcome"

    def __init__(self, node: int) -> None:
        super().__init__(
            f"Sub-task {node} has effects outside and was cut off; nobody knows whether they happened.",
            remedy="Look at the outside system, then send the instruction again if they did not.",
        )
        self.node = node


class RegistryError(OrchestAIError):
    """The model registry cannot do what was asked."""

    code = "registry"


class RegistryUnreachableError(RegistryError):
    """The registry does not answer; services go on with the champion that they know."""

    code = "registry_unreachable"


class RegistryConflictError(RegistryError):
    """Somebody else changed the registry meanwhile; nothing was changed."""

    code = "registry_conflict"


class StorageError(OrchestAIError):
    """A file cannot be written or read.

    Args:
        message: What happened.
        path: Where.
        remedy: What the reader can do about it.
    """

    code = "storage"

    def __init__(self, message: str, *, path: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.path = path


class EndpointError(OrchestAIError):
    """A local server cannot start."""

    code = "endpoint"


def is_retryable(error: BaseException) -> bool:
    """Say whether the same call may succeed if tried again."""
    return isinstance(error, TransientWorkerError) and not isinstance(error, BreakerOpenError)
