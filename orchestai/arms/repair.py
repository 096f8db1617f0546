"""Produce, judge, repair with the reason, and again, at most so many times; the best so far is never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from pydantic import Field

from orchestai.arms.base import Usage
from orchestai.contracts import WorkerOutput
from orchestai.contracts.base import Record
from orchestai.errors import DeadlineExceededError, OrchestAIError

StoppedBy = Literal["accepted", "limit", "deadline", "stalled", "producer_failed", "judge_failed"]


class Verdict(Record):
    """What a judge says of an answer.

    Attributes:
        accepted: Whether the answer is good enough.
        score: How good it is, between 0 and 1; as a probability that it is right.
        reason: Why, in words that whoever repairs it can work with.
        by: Who judged: checks that a machine applies, a run of the code, or a model.
        usage: What judging took.
    """

    accepted: bool
    score: float = Field(ge=0, le=1)
    reason: str = ""
    by: Literal["checks", "run", "model", "nobody"] = "model"
    usage: Usage = Usage()

    @property
    def confidence(self) -> float:
        """How sure the verdict is: low where a model accepts what it scores low, or the other way round."""
        return self.score if self.accepted else 1.0 - self.score


class Attempt(Record):
    """One answer and what was said of it."""

    output: WorkerOutput
    verdict: Verdict


class RepairResult(Record):
    """What came of the loop.

    Attributes:
        output: The accepted answer, or else the best one.
        verdict: What was said of it.
        attempts: All answers, in order.
        stopped_by: Why there was no further attempt.
        error: What failed, if something did.
    """

    output: WorkerOutput
    verdict: Verdict
    attempts: tuple[Attempt, ...]
    stopped_by: StoppedBy
    error: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the judge accepted the answer."""
        return self.verdict.accepted

    @property
    def usage(self) -> Usage:
        """What producing and judging took over all attempts."""
        return Usage.total(part for a in self.attempts for part in (Usage.of(a.output), a.verdict.usage))


Produce = Callable[[Attempt | None], Awaitable[WorkerOutput]]
"""Makes an answer; the attempt to repair is given from the second one on."""
Judge = Callable[[WorkerOutput], Awaitable[Verdict]]


async def repair_until_accepted(
    produce: Produce, judge: Judge, *, repairs: int, seconds: float | None = None
) -> RepairResult:
    """Return the first answer that is accepted, or the best of `1 + repairs`.

    The loop ends early where nothing new can come: the answer is the same as before, a repair or the judge
    failed, or the time is over. Of equal answers the later one counts, since it knew more.

    Args:
        produce: Makes the answer and its repairs.
        judge: Says whether it is good enough, and why not.
        repairs: Further answers after the first.
        seconds: Time for all of it; null means no limit.

    Raises:
        OrchestAIError: There is no first answer; a later failure only ends the loop.
        DeadlineExceededError: The time was over before there was one.
    """
    attempts: list[Attempt] = []
    stopped_by: StoppedBy = "limit"
    failure: str | None = None
    pending: WorkerOutput | None = None
    try:
        async with asyncio.timeout(seconds):
            for _ in range(1 + repairs):
                before = attempts[-1] if attempts else None
                stopped_by = "producer_failed"
                pending = await produce(before)
                if before is not None and pending.content == before.output.content:
                    attempts.append(
                        Attempt(output=pending, verdict=before.verdict.model_copy(update={"usage": Usage()}))
                    )
                    stopped_by, pending = "stalled", None
                    break
                stopped_by = "judge_failed"
                attempts.append(Attempt(output=pending, verdict=await judge(pending)))
                pending = None
                stopped_by = "accepted" if attempts[-1].verdict.accepted else "limit"
                if stopped_by == "accepted":
                    break
    except TimeoutError:
        stopped_by = "deadline"
        if not attempts and pending is None:
            raise DeadlineExceededError(f"No answer within the {seconds} s allowed.") from None
    except OrchestAIError as error:
        if not attempts and pending is None:
            raise
        failure = f"{error.code}: {error}"
    if pending is not None:
        reason = "It could not be judged." if failure is None else f"It could not be judged: {failure}"
        unjudged = Verdict(accepted=False, score=0.0, reason=reason, by="nobody")
        attempts.append(Attempt(output=pending, verdict=unjudged))
    best = max(enumerate(attempts), key=lambda item: (item[1].verdict.accepted, item[1].verdict.score, item[0]))[1]
    return RepairResult(
        output=best.output, verdict=best.verdict, attempts=tuple(attempts), stopped_by=stopped_by, error=failure
    )
