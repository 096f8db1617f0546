from __future__ import annotations

from collections.abc import Callable

import pytest
from chat_server import CALL_USD, ChatServer

from orchestai.arms.coder import CoderArm
from orchestai.arms.executor import ExecutorArm
from orchestai.arms.sandbox import Sandbox
from orchestai.contracts import WorkerRequest
from orchestai.errors import DeadlineExceededError, MalformedResponseError, SandboxUnavailableError, WorkerError
from orchestai.workers import OpenAIWorker

REQUEST = WorkerRequest(task_type="code_generation", prompt="Print the sum of 2 and 3.", system="Be brief.")
BROKEN = "Sure!\n```python\nprint(2 + three)\n```"
RIGHT = "```python\nprint(2 + 3)\n```"
Chat = Callable[..., OpenAIWorker]


async def test_the_error_goes_back_until_the_program_runs(chat: Chat, server: ChatServer, sandbox: Sandbox) -> None:
    server.answers["writer"] = ["I cannot.", BROKEN, RIGHT]
    arm = CoderArm(chat(), sandbox=sandbox, repairs=2)
    output = await arm.run(REQUEST)
    assert output.success
    assert output.content == RIGHT
    assert output.metadata["stdout"] == "5\n"
    assert (output.metadata["attempts"], output.metadata["calls"], output.metadata["tried"]) == (3, 3, True)
    assert (output.metadata["input_tokens"], output.metadata["output_tokens"]) == (300, 150)
    assert output.cost == pytest.approx(3 * CALL_USD)
    assert output.metadata["confidence"] == 1.0
    assert arm.max_calls == 3
    assert "Be brief." in server.system("writer", 0)
    assert "no fenced code block" in server.prompt("writer", 1)
    assert "NameError: name 'three' is not defined" in server.prompt("writer", 2)
    assert "print(2 + three)" in server.prompt("writer", 2)


async def test_at_most_so_many_repairs(chat: Chat, server: ChatServer, sandbox: Sandbox) -> None:
    server.answers["writer"] = [f"```python\nraise SystemExit({n})\n```" for n in range(1, 9)]
    output = await CoderArm(chat(), sandbox=sandbox, repairs=1).run(REQUEST)
    assert not output.success
    assert len(server.asked["writer"]) == 2
    assert output.metadata["code"] == "raise SystemExit(2)\n"
    assert output.error is not None
    assert "exit code 2" in output.error
    assert output.metadata["stopped_by"] == "limit"


async def test_the_same_program_again_is_not_paid_for_again(chat: Chat, server: ChatServer, sandbox: Sandbox) -> None:
    server.answers["writer"] = [BROKEN]
    output = await CoderArm(chat(), sandbox=sandbox, repairs=8).run(REQUEST)
    assert (len(server.asked["writer"]), output.metadata["stopped_by"]) == (2, "stalled")


async def test_without_a_sandbox_only_the_form_is_checked(chat: Chat, server: ChatServer) -> None:
    server.answers["writer"] = ["```python\nprint(2 +\n```", BROKEN]
    output = await CoderArm(chat()).run(REQUEST)
    assert output.success
    assert (output.metadata["tried"], output.metadata["attempts"]) == (False, 2)
    assert output.metadata["code"] == "print(2 + three)\n"


async def test_never_any_code(chat: Chat, server: ChatServer) -> None:
    server.answers["writer"] = ["No.", "Never."]
    with pytest.raises(MalformedResponseError, match="no code in 2 answers") as caught:
        await CoderArm(chat(), repairs=1).run(REQUEST)
    assert caught.value.answer == "Never."


async def test_a_repair_that_fails_leaves_the_first_program(chat: Chat, server: ChatServer, sandbox: Sandbox) -> None:
    server.answers["writer"] = [BROKEN, 400]
    output = await CoderArm(chat(), sandbox=sandbox).run(REQUEST)
    assert not output.success
    assert "three" in output.content
    assert output.metadata["stopped_by"] == "producer_failed"


async def test_the_first_failure_is_raised(chat: Chat, server: ChatServer, sandbox: Sandbox) -> None:
    server.answers["writer"] = [401]
    with pytest.raises(WorkerError):
        await CoderArm(chat(), sandbox=sandbox).run(REQUEST)
    server.answers["writer"] = [(5, RIGHT)]
    with pytest.raises(DeadlineExceededError):
        await CoderArm(chat(timeout_s=30.0), sandbox=sandbox).run(REQUEST.model_copy(update={"timeout_s": 0.2}))


async def test_nothing_is_paid_where_nothing_can_be_tried(
    chat: Chat, server: ChatServer, sandbox: Sandbox, tmp_path
) -> None:
    server.answers["writer"] = [RIGHT]
    nowhere = Sandbox(sandbox.limits.model_copy(update={"bubblewrap": tmp_path / "bwrap"}))
    with pytest.raises(SandboxUnavailableError):
        await CoderArm(chat(), sandbox=nowhere).run(REQUEST)
    assert server.asked["writer"] == []


async def test_an_executor_runs_what_a_coder_answered(chat: Chat, server: ChatServer, sandbox: Sandbox) -> None:
    server.answers["writer"] = ["```bash\nseq 3 | tac\n```"]
    written = await CoderArm(chat(), sandbox=sandbox, language="bash").run(REQUEST)
    prompt = f"Run the program of sub-task 1.\n\nSub-task 1:\n{written.content}"
    output = await ExecutorArm(sandbox).run(REQUEST.model_copy(update={"prompt": prompt}))
    assert output.content == "3\n2\n1\n"
