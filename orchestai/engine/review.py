"""A judge looks at the answer; what it refuses is mended with its reason, a few times at most."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from orchestai.arms.judge import JudgeArm
from orchestai.arms.repair import Attempt, Verdict, repair_until_accepted
from orchestai.contracts import Instruction, Review, Worker, WorkerOutput, WorkerProfile, WorkerRequest, worst_case
from orchestai.engine.ledger import Ledger

Revise = Callable[[Verdict | None], Awaitable[WorkerOutput]]
"""Makes the combined answer: the first time as it stands, then anew with the judge's reason."""


@dataclass(frozen=True)
class Reviewer:
    """Who judges, and how often an answer is mended.

    Attributes:
        find: Gives the judging worker when it is first needed.
        repairs: Further answers after the first.
        threshold: Score from which on the judge's acceptance counts.
    """

    find: Callable[[], Worker]
    repairs: int
    threshold: float

    async def review(self, instruction: Instruction, revise: Revise, ledger: Ledger) -> tuple[WorkerOutput, Review]:
        """Return the accepted answer, or the best one, and what was said of it.

        A judge that fails, or that the budget does not allow, judges nothing: the answer stands as it would
        without one, marked as judged by nobody.

        Args:
            instruction: What the user asked; its acceptance checks and constraints are judged by as well.
            revise: Makes the answer and its repairs.
            ledger: Budget that judging is paid from.
        """
        outputs: list[WorkerOutput] = []

        async def produce(before: Attempt | None) -> WorkerOutput:
            outputs.append(await revise(before.verdict if before is not None else None))
            return outputs[-1]

        async def judge(output: WorkerOutput) -> Verdict:
            arm = JudgeArm(_Metered(self.find(), ledger), threshold=self.threshold)
            material = "\n\n".join([instruction.text, *_texts(instruction)])
            return await arm.judge(
                material, str(output.content), checks=instruction.acceptance, criteria=instruction.constraints
            )

        result = await repair_until_accepted(produce, judge, repairs=self.repairs)
        judged = [attempt.verdict.usage for attempt in result.attempts]
        return result.output, Review(
            accepted=result.accepted or result.verdict.by == "nobody",
            score=result.verdict.score,
            reason=result.verdict.reason if result.error is None else f"{result.verdict.reason} ({result.error})",
            by=result.verdict.by,
            repairs=len(outputs) - 1,
            cost_usd=sum(usage.cost_usd for usage in judged),
            input_tokens=sum(usage.input_tokens for usage in judged),
            output_tokens=sum(usage.output_tokens for usage in judged),
        )


class _Metered:
    """A worker whose calls are paid from a budget."""

    def __init__(self, worker: Worker, ledger: Ledger) -> None:
        self._worker = worker
        self._ledger = ledger

    @property
    def profile(self) -> WorkerProfile:
        return self._worker.profile

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        reservation = self._ledger.reserve(*worst_case(self.profile, request))
        output: WorkerOutput | None = None
        try:
            output = await self._worker.run(request)
        finally:
            self._ledger.settle_output(reservation, output)
        return output

    async def aclose(self) -> None:
        """Leave it to whoever owns the worker."""


def _texts(instruction: Instruction) -> list[str]:
    return [value for name, value in instruction.inputs.items() if name.startswith("text")]
