"""The coder arm: asks a chat worker for code, runs it where a sandbox is given, and feeds the errors back."""

from __future__ import annotations

import time

from orchestai.arms.base import Role, profile_around
from orchestai.arms.fences import code_blocks, fenced
from orchestai.arms.repair import Attempt, RepairResult, Verdict, repair_until_accepted
from orchestai.arms.sandbox import Language, Program, Sandbox
from orchestai.contracts import AcceptanceCheck, Worker, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.errors import MalformedResponseError

SYSTEM = (
    "You write {language} code. Answer with exactly one fenced code block that holds the whole program, "
    "and nothing else. It runs without network and without installed packages."
)
_REPAIR = (
    "{prompt}\n\nYour last program was:\n\n{code}\n\nIt is not good yet:\n{reason}\n\n"
    "Write the whole program again, corrected."
)
_PYTHON = AcceptanceCheck(kind="parses", value="python")
_NO_CODE = "The answer held no fenced code block."


class CoderArm:
    """Writes code.

    The answer is the code in one fenced block, ready for an executor; `metadata` holds `code`, `language`, and,
    where it was run, what it printed. With a sandbox, `success` says that the last program ran to its end; a
    program that nobody accepted is still given back, with `success` false.

    Args:
        worker: Chat worker that is asked.
        sandbox: Where each program is tried; null takes the first code as it is.
        repairs: Further programs after the first.
        language: Language to write.
        name: Name in plans and logs.
        system: System prompt; `{language}` is replaced.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        sandbox: Sandbox | None = None,
        repairs: int = 2,
        language: Language = "python",
        name: str = "coder",
        system: str = SYSTEM,
    ) -> None:
        self._worker = worker
        self._sandbox = sandbox
        self._repairs = repairs
        self._language = language
        self._system = system.replace("{language}", language.capitalize())
        tried = ", tries it in a sandbox and mends it" if sandbox else ""
        self._profile = profile_around(worker, name, f"Writes {language} programs{tried}.")

    @property
    def profile(self) -> WorkerProfile:
        """Its capability, price and speed facts."""
        return self._profile

    @property
    def role(self) -> Role:
        """What it is there for."""
        return "coder"

    @property
    def max_calls(self) -> int:
        """Calls to its worker that one request may take."""
        return 1 + self._repairs

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        """Write a program, and mend it until it runs or the repairs are used up.

        Raises:
            WorkerError: The worker failed, or never sent code.
            SandboxUnavailableError: A sandbox was asked for and there is none.
            DeadlineExceededError: The time was over before there was any code.
        """
        if self._sandbox is not None:
            await self._sandbox.check()  # before a single token is paid for code that cannot be tried
        started = time.monotonic()

        async def produce(before: Attempt | None) -> WorkerOutput:
            return await self._worker.run(self._request(request, before))

        async def judge(output: WorkerOutput) -> Verdict:
            return await self._judge(output, request)

        result = await repair_until_accepted(produce, judge, repairs=self._repairs, seconds=request.timeout_s)
        return self._output(result, (time.monotonic() - started) * 1000)

    async def aclose(self) -> None:
        """The worker belongs to whoever gave it."""

    def _request(self, request: WorkerRequest, before: Attempt | None) -> WorkerRequest:
        system = f"{self._system}\n\n{request.system}".strip()
        prompt = request.prompt
        if before is not None:
            code = str(before.output.content).strip()
            prompt = _REPAIR.format(prompt=request.prompt, code=code, reason=before.verdict.reason)
        return request.model_copy(update={"system": system, "prompt": prompt, "json_schema": None})

    async def _judge(self, output: WorkerOutput, request: WorkerRequest) -> Verdict:
        program = self._program(output, request)
        if program is None:
            return Verdict(accepted=False, score=0.0, reason=_NO_CODE, by="checks")
        if self._sandbox is None:
            if self._language == "python" and not _PYTHON.holds(program.code):
                return Verdict(accepted=False, score=0.25, reason="The program is not valid Python.", by="checks")
            return Verdict(accepted=True, score=1.0, by="nobody")
        result = await self._sandbox.run(program)
        if result.ok:
            return Verdict(accepted=True, score=1.0, reason=result.stdout, by="run")
        # Code that runs into an error is worth more than an answer without code.
        return Verdict(accepted=False, score=0.25, reason=result.problem, by="run")

    def _program(self, output: WorkerOutput, request: WorkerRequest) -> Program | None:
        blocks = [block for block in code_blocks(str(output.content)) if block.language in (None, self._language)]
        if not blocks:
            return None
        return Program(language=self._language, code=blocks[-1].code, stdin=request.inputs.get("stdin", ""))

    def _output(self, result: RepairResult, latency_ms: float) -> WorkerOutput:
        blocks = [b for b in code_blocks(str(result.output.content)) if b.language in (None, self._language)]
        if not blocks:
            raise MalformedResponseError(
                f"Worker {self._worker.profile.name!r} sent no code in {len(result.attempts)} answers.",
                worker=self._profile.name,
                remedy="Give the coder a worker that can write code.",
                answer=str(result.output.content),
            )
        code = blocks[-1].code
        ran = result.verdict.by == "run"
        confidence = result.output.metadata.get("confidence")
        return WorkerOutput(
            content=fenced(self._language, code),
            metadata={
                **{key: result.output.metadata.get(key) for key in ("model", "simulated", "finish_reason")},
                **result.usage.metadata,
                "confidence": (1.0 if result.accepted else 0.0) if ran else confidence,
                "code": code,
                "language": self._language,
                "tried": ran,
                "stdout": result.verdict.reason if ran and result.accepted else None,
                "attempts": len(result.attempts),
                "stopped_by": result.stopped_by,
            },
            cost=result.usage.cost_usd,
            latency_ms=latency_ms,
            success=result.accepted,
            error=None if result.accepted else (result.verdict.reason or result.error),
        )
