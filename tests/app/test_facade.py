"""The public class, and what a misbehaving endpoint looks like through it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from werkzeug import Response

import orchestai
from orchestai import OrchestAI
from orchestai.contracts import Budget, Instruction
from orchestai.errors import ConfigError, InputError, InstructionError
from orchestai.logs import ExecutionLogRecord, read_executions
from tests.app.endpoint import Answer, Endpoint, refuses, says


@pytest.fixture
def facade(configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., OrchestAI]:
    def make(*, mock: bool = False, **environment: str) -> OrchestAI:
        for name, value in {"ORCHESTAI_HOME": str(tmp_path / "home"), **environment}.items():
            monkeypatch.setenv(name, value)
        return OrchestAI(configs, mock=mock)

    return make


def records(ai: OrchestAI) -> list[ExecutionLogRecord]:
    return read_executions(ai.project.paths.execution_logs)


def test_plan_and_run(facade: Callable[..., OrchestAI]) -> None:
    with facade(mock=True) as ai:
        plan = ai.plan("Summarize this report.", inputs={"text": "It rained."})
        assert records(ai) == [], "planning runs nothing"
        result = ai.run("Summarize this report.", inputs={"text": "It rained."})
    assert [node.task_type for node in plan.graph.nodes] == ["summarization"]
    assert result.success
    assert result.simulated
    assert [record.execution_id for record in records(ai)] == [result.execution_id]
    assert records(ai)[0].inputs == {"text": "It rained."}


async def test_aplan_and_arun(facade: Callable[..., OrchestAI]) -> None:
    states: list[str] = []
    async with facade(mock=True) as ai:
        assert (await ai.aplan("Translate 'water' into French.")).graph.nodes[0].task_type == "translation"
        result = await ai.arun("Translate 'water' into French.", on_event=lambda event: states.append(event.status))
    assert result.success
    assert states == ["running", "done"]


def test_fields_of_the_instruction_reach_the_worker(facade: Callable[..., OrchestAI], endpoint: Endpoint) -> None:
    with facade(**endpoint.environment) as ai:
        ai.run("Name a river.", inputs={"text": "in Spain"}, constraints=("one word",), budget={"usd": 1.0})
        ai.run(Instruction(text="Name a river."), inputs={"text": "in Italy"})
    assert "in Spain" in endpoint.prompts[0]
    assert "one word" in endpoint.prompts[0]
    assert "in Italy" in endpoint.prompts[1]
    assert all("Name a river." in prompt for prompt in endpoint.prompts)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"budget": {"usd": float("nan")}}, "`budget.usd`"),
        ({"budget": {"seconds": 0}}, "`budget.seconds`"),
        ({"priority": "urgent"}, "`priority`"),
        ({"colour": "red"}, "`colour`"),
    ],
)
@pytest.mark.parametrize("base", ["Name a river.", Instruction(text="Name a river.")])
def test_a_wrong_field_is_an_input_error(
    facade: Callable[..., OrchestAI], fields: dict[str, Any], problem: str, base: str | Instruction
) -> None:
    with facade(mock=True) as ai, pytest.raises(InputError, match=problem):
        ai.run(base, **fields)


@pytest.mark.parametrize("text", ["", " \n", "x" * 32_769, "ring \x07", "half \ud800"])
def test_what_is_no_instruction_is_refused(facade: Callable[..., OrchestAI], text: str) -> None:
    with facade(mock=True) as ai:
        with pytest.raises(InstructionError):
            ai.run(text)
        assert records(ai) == []


def test_a_complete_instruction_keeps_its_id(facade: Callable[..., OrchestAI]) -> None:
    with facade(mock=True) as ai:
        ai.run(Instruction(id="mine", text="Name a river."), budget=Budget(seconds=30))
        assert records(ai)[0].instruction_id == "mine"


def test_a_missing_configuration_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        OrchestAI(tmp_path / "nowhere")


def test_the_class_is_the_public_name_of_the_package() -> None:
    assert orchestai.OrchestAI is OrchestAI
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = orchestai.Nothing


def slow(_request: object) -> Response:
    time.sleep(0.8)
    return says("too late")(_request)  # type: ignore[arg-type]


def raw(body: str) -> Answer:
    return lambda _request: Response(body, content_type="application/json")


@pytest.mark.parametrize(
    ("answer", "code", "calls"),
    [
        (slow, "worker_timeout", 3),
        (refuses(429, "too many", Retry_After="0"), "rate_limited", 3),
        (refuses(500, "broken"), "worker_unavailable", 3),
        (raw('{"choices": ['), "malformed_response", 3),
        (raw('{"hello": 1}'), "malformed_response", 3),
        (says(" "), "malformed_response", 3),
        (refuses(401, "no key"), "worker_auth", 1),
        (refuses(400, "too long"), "worker_request", 1),
    ],
)
def test_a_misbehaving_endpoint_is_a_clear_logged_failure(
    facade: Callable[..., OrchestAI], endpoint: Endpoint, answer: Answer, code: str, calls: int
) -> None:
    endpoint.answer = answer
    with facade(**endpoint.environment) as ai:
        result = ai.run("What is the capital of France?")
        (record,) = records(ai)
    assert not result.completed
    assert not result.success
    assert result.answer == ""
    assert code in (result.error or "")
    assert "smollm2-135m" in (result.error or "")
    assert "sk-test-0123456789" not in (result.error or "")
    assert len(endpoint.requests) == calls
    assert (record.completed, record.success, record.subtasks[0].status) == (False, False, "failed")
    assert code in (record.subtasks[0].error or "")


def test_a_worker_that_is_down_is_a_clear_logged_failure(facade: Callable[..., OrchestAI]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with facade(OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1", OPENAI_MODEL="m", OPENAI_API_KEY="k") as ai:
        result = ai.run("What is the capital of France?")
        assert "worker_unavailable" in (result.error or "")
        assert "cannot be reached" in (result.error or "")
        assert not records(ai)[0].completed


def test_a_missing_key_is_named_before_any_call(facade: Callable[..., OrchestAI], endpoint: Endpoint) -> None:
    with facade(**{**endpoint.environment, "OPENAI_API_KEY": ""}) as ai:
        result = ai.run("What is the capital of France?")
        assert not records(ai)[0].completed
    assert "worker_auth" in (result.error or "")
    assert "OPENAI_API_KEY is not set" in (result.error or "")
    assert endpoint.requests == []


def test_after_a_429_the_worker_gets_the_pause_that_it_asked_for(
    facade: Callable[..., OrchestAI], endpoint: Endpoint
) -> None:
    times: list[float] = []

    def once(request: object) -> Response:
        times.append(time.monotonic())
        return (refuses(429, "wait", Retry_After="1") if len(times) == 1 else says("Paris"))(request)  # type: ignore[arg-type]

    endpoint.answer = once
    with facade(**endpoint.environment) as ai:
        result = ai.run("What is the capital of France?")
    assert result.answer == "Paris"
    assert result.retry_count == 1
    assert 1.0 <= times[1] - times[0] < 5


def test_a_hostile_answer_is_logged_as_a_line(facade: Callable[..., OrchestAI], endpoint: Endpoint) -> None:
    hostile = 'first\nsecond\u2028third "\\ \x1b[2J \ud800 {"crc": 1}'
    endpoint.answer = lambda _request: Response(
        json.dumps(
            {
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [
                    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": hostile}}
                ],
            }
        ),
        content_type="application/json",
    )
    with facade(**endpoint.environment) as ai:
        ai.run("What is the capital of France?")
        (record,) = records(ai)
    assert record.execution_result["outputs"]["-1"] == hostile.replace("\ud800", "\ufffd")
