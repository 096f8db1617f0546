"""Several arms on one step at a time: as many answers as are needed, one consensus."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from orchestai.arms.aggregate import Consensus, Opinion, average, vote, weighted_vote
from orchestai.arms.base import Role, Usage, confidence_of
from orchestai.arms.repair import Verdict
from orchestai.contracts import Worker, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.contracts.base import Record
from orchestai.errors import (
    InputError,
    OrchestAIError,
    TransientWorkerError,
    WorkerError,
    WorkerTimeoutError,
    is_retryable,
)

Method = Literal["vote", "weighted_vote", "average", "best_of", "learned"]
JudgeAnswer = Callable[[WorkerRequest, WorkerOutput], Awaitable[Verdict]]

_GRACE_S = 1.0


class Contribution(Record):
    """What came of one arm.

    Attributes:
        arm: Its name.
        status: `answered`; `failed`; `cancelled` since enough others had answered; `late` at the deadline.
        output: Its answer.
        confidence: How sure it is of it.
        error: Code and message of its failure.
        retryable: Whether another try may cure it.
    """

    arm: str
    status: Literal["answered", "failed", "cancelled", "late"]
    output: WorkerOutput | None = None
    confidence: float | None = Field(default=None, ge=0, le=1)
    error: str | None = None
    retryable: bool = False


class SwarmResult(Record):
    """What came of a swarm.

    Attributes:
        consensus: The common answer; null if there was none.
        contributions: One an arm, in the order of the arms.
        quorum: Answers that were wanted.
        quorum_met: Whether as many came in time. Fewer still give a consensus, flagged by this.
        usage: What all answers and the judge took.
        latency_ms: From start to consensus.
    """

    consensus: Consensus | None
    contributions: tuple[Contribution, ...]
    quorum: int
    quorum_met: bool
    usage: Usage
    latency_ms: float


class Swarm:
    """Asks its arms in parallel; as a worker, it answers with their consensus.

    Args:
        members: The arms; their names must differ.
        method: `vote`, `weighted_vote` (by each answer's confidence), `average` (of numbers), `best_of` (by the
            judge), `learned` (by the weights).
        quorum: Answers that are enough; the other arms are then cancelled. Null waits for all.
        deadline_s: Time after which what has come must do; the request's `timeout_s` applies as well.
        judge: Scores an answer, for `best_of`.
        weights: Weight by arm, for `learned`, and for `average` if given.
        name: Name in plans and logs.

    Raises:
        InputError: The settings do not fit each other.
    """

    def __init__(
        self,
        members: Sequence[Worker],
        *,
        method: Method = "vote",
        quorum: int | None = None,
        deadline_s: float | None = None,
        judge: JudgeAnswer | None = None,
        weights: Mapping[str, float] | None = None,
        name: str = "swarm",
    ) -> None:
        names = [member.profile.name for member in members]
        _check(names, method, quorum, judge, weights)
        self._members = dict(zip(names, members, strict=True))
        self._method = method
        self._quorum = quorum or len(names)
        self._deadline_s = deadline_s
        self._judge = judge
        self._weights = dict(weights) if weights is not None else None
        self._profile = _profile(name, [member.profile for member in members])

    @property
    def profile(self) -> WorkerProfile:
        """Its members' together: prices add up, and the slowest sets the time."""
        return self._profile

    @property
    def role(self) -> Role:
        """What it is there for."""
        return "swarm"

    @property
    def max_calls(self) -> int:
        """1: the profile's prices are those of one call to every member."""
        return 1

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        """Answer with the consensus; `metadata["contributions"]` says who answered what.

        Raises:
            WorkerError: No arm answered in time, or the answers come to nothing.
        """
        result = await self.consult(request)
        if result.consensus is None:
            raise self._failure(result)
        answers = [c.output for c in result.contributions if c.output is not None]
        shown = {"arm", "status", "confidence", "error"}
        return WorkerOutput(
            content=result.consensus.content,
            metadata={
                "model": self._profile.model,
                "simulated": any(bool(answer.metadata.get("simulated")) for answer in answers),
                "confidence": result.consensus.confidence,
                "method": self._method,
                "agreed": list(result.consensus.arms),
                "quorum_met": result.quorum_met,
                "contributions": [c.model_dump(include=shown) for c in result.contributions],
                **result.usage.metadata,
            },
            cost=result.usage.cost_usd,
            latency_ms=result.latency_ms,
        )

    async def consult(self, request: WorkerRequest) -> SwarmResult:
        """Ask the arms and say what came of each; nothing is raised for an arm that fails."""
        started = time.monotonic()
        limits = [limit for limit in (self._deadline_s, request.timeout_s) if limit is not None]
        end = started + min(limits) if limits else math.inf
        tasks = {name: asyncio.create_task(_ask(name, arm, request)) for name, arm in self._members.items()}
        try:
            await self._await_quorum(set(tasks.values()), end)
            unfinished: Literal["late", "cancelled"] = "late" if time.monotonic() >= end else "cancelled"
            contributions = tuple(
                task.result() if task.done() else Contribution(arm=name, status=unfinished)
                for name, task in tasks.items()
            )
        finally:
            await _cancel(tasks.values())
        answered = [c for c in contributions if c.status == "answered"]
        consensus, judging = await self._agree(request, answered, end) if answered else (None, Usage())
        spent = [Usage.of(c.output) for c in contributions if c.output is not None]
        return SwarmResult(
            consensus=consensus,
            contributions=contributions,
            quorum=self._quorum,
            quorum_met=len(answered) >= self._quorum,
            usage=Usage.total([*spent, judging]),
            latency_ms=(time.monotonic() - started) * 1000,
        )

    async def aclose(self) -> None:
        """The arms belong to whoever gave them."""

    async def _await_quorum(self, pending: set[asyncio.Task[Contribution]], end: float) -> None:
        answers = 0
        while pending and answers < self._quorum:
            left = None if end == math.inf else max(end - time.monotonic(), 0.0)
            done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                return
            answers += sum(task.result().status == "answered" for task in done)

    async def _agree(
        self, request: WorkerRequest, answered: Sequence[Contribution], end: float
    ) -> tuple[Consensus | None, Usage]:
        opinions = [
            Opinion(arm=c.arm, content=c.output.content if c.output else None, confidence=c.confidence or 0.0)
            for c in answered
        ]
        match self._method:
            case "vote":
                return vote(opinions), Usage()
            case "weighted_vote":
                return weighted_vote(opinions), Usage()
            case "learned":
                return weighted_vote(opinions, self._weights), Usage()
            case "average":
                return average(opinions, self._weights), Usage()
            case "best_of":
                return await self._best_of(request, answered, opinions, end)

    async def _best_of(
        self, request: WorkerRequest, answered: Sequence[Contribution], opinions: Sequence[Opinion], end: float
    ) -> tuple[Consensus, Usage]:
        """Let the judge score all answers at once; an answer that it cannot judge in time keeps its place last."""
        judge = self._judge
        assert judge is not None
        outputs = [c.output for c in answered if c.output is not None]
        tasks = [asyncio.create_task(_judge(judge, request, output)) for output in outputs]
        try:
            await asyncio.wait(tasks, timeout=None if end == math.inf else max(end - time.monotonic(), 0.0))
            verdicts = [task.result() if task.done() else None for task in tasks]
        finally:
            await _cancel(tasks)
        usage = Usage.total(verdict.usage for verdict in verdicts if verdict is not None)

        def merit(item: tuple[Opinion, Verdict | None]) -> tuple[float, float, float]:
            opinion, verdict = item
            if verdict is None:
                return -1.0, 0.0, opinion.confidence
            return float(verdict.accepted), verdict.score, opinion.confidence

        best, verdict = max(zip(opinions, verdicts, strict=True), key=merit)
        confidence = best.confidence if verdict is None else verdict.score
        return Consensus(content=best.content, confidence=confidence, arms=(best.arm,)), usage

    def _failure(self, result: SwarmResult) -> WorkerError:
        name = self._profile.name
        said = "; ".join(f"{c.arm}: {c.error or c.status}" for c in result.contributions)
        if any(c.status == "answered" for c in result.contributions):
            return WorkerError(
                f"The answers of swarm {name!r} are no numbers: nothing can be averaged.",
                worker=name,
                remedy="Use `vote`, or ask for a number.",
            )
        if all(c.status == "late" for c in result.contributions):
            return WorkerTimeoutError(f"No arm of swarm {name!r} answered in time.", worker=name)
        message = f"No arm of swarm {name!r} answered. {said}"
        again = any(c.retryable or c.status == "late" for c in result.contributions)
        return TransientWorkerError(message, worker=name) if again else WorkerError(message, worker=name)


async def _ask(name: str, arm: Worker, request: WorkerRequest) -> Contribution:
    try:
        output = await arm.run(request)
    except OrchestAIError as error:
        return Contribution(arm=name, status="failed", error=f"{error.code}: {error}", retryable=is_retryable(error))
    except Exception as error:  # an arm with a bug must not sink the others
        return Contribution(arm=name, status="failed", error=f"{type(error).__name__}: {error}")
    if not output.success:
        return Contribution(arm=name, status="failed", output=output, error=output.error)
    return Contribution(arm=name, status="answered", output=output, confidence=confidence_of(output))


async def _judge(judge: JudgeAnswer, request: WorkerRequest, output: WorkerOutput) -> Verdict | None:
    try:
        return await judge(request, output)
    except OrchestAIError:
        return None


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what runs and wait for it, but not for long: an arm that ignores it must not hold the step up."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=_GRACE_S)


def _check(
    names: Sequence[str], method: Method, quorum: int | None, judge: object, weights: Mapping[str, float] | None
) -> None:
    if not names:
        raise InputError("A swarm has no arms.", remedy="Give it at least one.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"The swarm has several arms called {twice[0]!r}.", remedy="Names must differ.")
    if quorum is not None and not 1 <= quorum <= len(names):
        raise InputError(f"`quorum` must be between 1 and {len(names)}, the number of arms; got {quorum}.")
    if method == "best_of" and judge is None:
        raise InputError("The method 'best_of' needs a judge.", remedy="Pass `judge`, or use `vote`.")
    if method == "learned" and weights is None:
        raise InputError("The method 'learned' needs weights.", remedy="Pass `weights`, or use `weighted_vote`.")
    if weights is None:
        return
    missing = [name for name in names if name not in weights]
    if missing:
        raise InputError(f"`weights` lacks the arm {missing[0]!r}.", remedy="Give every arm a weight, 0 included.")
    wrong = [name for name in names if not 0 <= weights[name] < math.inf]
    if wrong or sum(weights[name] for name in names) <= 0:
        shown = ", ".join(f"{name}: {weights[name]:g}" for name in names)
        raise InputError(f"`weights` must be finite, >= 0 and not all 0; got {shown}.")


def _profile(name: str, members: Sequence[WorkerProfile]) -> WorkerProfile:
    shared = [m for m in members[0].modalities if all(m in member.modalities for member in members)]
    if not shared:
        raise InputError("The arms of the swarm have no modality in common.", remedy="Join arms that answer alike.")
    return WorkerProfile(
        name=name,
        description=f"The consensus of {', '.join(member.name for member in members)}.",
        model=name,
        modalities=tuple(shared),
        input_usd_per_mtok=sum(member.input_usd_per_mtok for member in members),
        output_usd_per_mtok=sum(member.output_usd_per_mtok for member in members),
        typical_latency_ms=max(member.typical_latency_ms for member in members),
        context_tokens=min(member.context_tokens for member in members),
        timeout_s=max(member.timeout_s for member in members),
        simulation=next((member.simulation for member in members if member.simulation is not None), None),
    )
