"""The executor arm: runs the code of a request in the sandbox."""

from __future__ import annotations

from pydantic import ValidationError

from orchestai.arms.base import Role, local_profile
from orchestai.arms.fences import code_blocks
from orchestai.arms.sandbox import Program, Sandbox, SandboxResult
from orchestai.contracts import WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.errors import InputError, WorkerRequestError

_FILE = "file:"


class ExecutorArm:
    """Runs Python and Bash, confined; it has no effect outside and needs no model.

    The code is `inputs["code"]` (in `inputs["language"]`, Python by default), or else the last fenced block of
    the prompt, where the answer of a coder stands. `inputs["stdin"]` is what the program reads, `inputs["file:NAME"]`
    a file in its work folder.

    Args:
        sandbox: What confines it.
        name: Name in plans and logs.
        max_concurrency: Programs at a time.
    """

    def __init__(self, sandbox: Sandbox, *, name: str = "executor", max_concurrency: int | None = 2) -> None:
        self._sandbox = sandbox
        self._profile = local_profile(
            name,
            "Runs a Python or Bash program in a sandbox without network and returns what it prints.",
            typical_latency_ms=50.0,
            max_concurrency=max_concurrency,
            timeout_s=sandbox.limits.wall_s + 10.0,  # starting and clearing up are not the program's time
        )

    @property
    def profile(self) -> WorkerProfile:
        """Its capability, price and speed facts."""
        return self._profile

    @property
    def role(self) -> Role:
        """What it is there for."""
        return "executor"

    @property
    def max_calls(self) -> int:
        """It calls no model."""
        return 0

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        """Run the program; one that fails is an answer with `success` false and the reason in `error`.

        Raises:
            SandboxUnavailableError: Nothing confines code on this machine; nothing was run.
            WorkerRequestError: There is no code in the request, or it cannot be taken.
        """
        program = self._program(request)
        try:
            result = await self._sandbox.run(program, wall_s=request.timeout_s)
        except InputError as error:
            raise WorkerRequestError(error.message, worker=self._profile.name, remedy=error.remedy) from error
        return _output(program, result)

    async def aclose(self) -> None:
        """Nothing is held between two programs."""

    def _program(self, request: WorkerRequest) -> Program:
        inputs = request.inputs
        language: str = inputs.get("language", "python")
        code = inputs.get("code", "")
        if not code:
            blocks = code_blocks(request.prompt)
            if not blocks:
                raise WorkerRequestError(
                    "The request holds no code to run.",
                    worker=self._profile.name,
                    remedy="Put it into a fenced block (```python or ```bash), or into the input `code`.",
                )
            code = blocks[-1].code
            language = inputs.get("language") or blocks[-1].language or language
        files = {name.removeprefix(_FILE): text for name, text in inputs.items() if name.startswith(_FILE)}
        fields = {"language": language, "code": code, "stdin": inputs.get("stdin", ""), "files": files}
        try:
            return Program.model_validate(fields)
        except ValidationError as error:
            problems = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors(include_url=False))
            raise WorkerRequestError(
                f"The program cannot be taken: {problems}.",
                worker=self._profile.name,
                remedy="Languages are python and bash; files lie below the work folder.",
            ) from error


def _output(program: Program, result: SandboxResult) -> WorkerOutput:
    return WorkerOutput(
        content=result.stdout,
        metadata={
            "model": "sandbox",
            "simulated": False,
            "confidence": 1.0 if result.ok else 0.0,
            "language": program.language,
            "status": result.status,
            "exit_code": result.exit_code,
            "stderr": result.stderr,
            "truncated": result.truncated,
            "input_tokens": 0,
            "output_tokens": 0,
            "calls": 0,
        },
        latency_ms=result.duration_ms,
        success=result.ok,
        error=result.problem or None,
    )
