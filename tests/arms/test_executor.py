from __future__ import annotations

import pytest

from orchestai.arms.executor import ExecutorArm
from orchestai.arms.fences import code_blocks, fenced
from orchestai.arms.sandbox import Sandbox
from orchestai.contracts import WorkerRequest
from orchestai.errors import SandboxUnavailableError, WorkerRequestError


def request(prompt: str = "Run it.", **inputs: str) -> WorkerRequest:
    return WorkerRequest(task_type="code_generation", prompt=prompt, inputs=inputs)


async def test_it_runs_the_last_block_of_the_prompt(sandbox: Sandbox) -> None:
    arm = ExecutorArm(sandbox)
    first = "First:\n```python\nprint('old')\n```\n"
    prompt = first + "then, in bash:\n```sh\necho new; echo warn >&2\n```\nOutput was:\n```text\nx\n```"
    output = await arm.run(request(prompt))
    assert (output.content, output.success, output.cost) == ("new\n", True, 0.0)
    assert output.metadata["language"] == "bash"
    assert output.metadata["stderr"] == "warn\n"
    assert output.metadata["confidence"] == 1.0
    assert arm.max_calls == 0


async def test_code_standard_input_and_files_may_be_inputs(sandbox: Sandbox) -> None:
    code = "import sys; print(sys.stdin.read() + open('notes/a.txt').read())"
    inputs = {"code": code, "stdin": "in ", "file:notes/a.txt": "file"}
    output = await ExecutorArm(sandbox).run(request(**inputs))
    assert output.content == "in file\n"


async def test_a_program_that_fails_is_an_answer(sandbox: Sandbox) -> None:
    output = await ExecutorArm(sandbox).run(request(code="print('so far')\nraise ValueError('no')"))
    assert not output.success
    assert output.content == "so far\n"
    assert output.error is not None
    assert "ValueError: no" in output.error
    assert output.metadata["exit_code"] == 1


async def test_the_request_may_shorten_the_time(sandbox: Sandbox) -> None:
    short = request(code="while True: pass").model_copy(update={"timeout_s": 0.3})
    output = await ExecutorArm(sandbox).run(short)
    assert output.metadata["status"] == "timeout"
    assert output.latency_ms < 3000


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "no code"),
        ({"code": "1", "language": "cobol"}, "python and bash"),
        ({"code": "1", "file:../x": ""}, "below the work folder"),
        ({"code": "#" * (5 << 20)}, "are allowed"),
    ],
)
async def test_what_cannot_be_run_is_refused(sandbox: Sandbox, inputs: dict[str, str], said: str) -> None:
    with pytest.raises(WorkerRequestError, match=said):
        await ExecutorArm(sandbox).run(request(**inputs))


async def test_without_a_sandbox_it_refuses(sandbox: Sandbox, tmp_path) -> None:
    nowhere = Sandbox(sandbox.limits.model_copy(update={"bubblewrap": tmp_path / "bwrap"}), worker="runner")
    with pytest.raises(SandboxUnavailableError, match="was not run") as caught:
        await ExecutorArm(nowhere, name="runner").run(request(code="print(1)"))
    assert caught.value.worker == "runner"


def test_blocks_of_other_languages_are_left_out() -> None:
    text = "```json\n{}\n```\n~~~py\na\n~~~\n````bash\n```\nb\n```\n````\n```\nc\n```\n```python\n\n```\n"
    assert [(b.language, b.code) for b in code_blocks(text)] == [
        ("python", "a\n"),
        ("bash", "```\nb\n```\n"),
        (None, "c\n"),
    ]


def test_a_block_that_was_cut_off_is_taken_to_its_end() -> None:
    assert [b.code for b in code_blocks("Here:\r\n```python\r\nprint(1)\r\nprint(2")] == ["print(1)\nprint(2"]


def test_a_fence_survives_fences_in_the_code() -> None:
    code = 's = """\n```\n````\n"""'
    assert [b.code for b in code_blocks(fenced("python", code))] == [code + "\n"]
