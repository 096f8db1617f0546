"""OrchestAI as a model, called by OpenAI's own client."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI
from werkzeug import Response

from orchestai.config import Project
from orchestai.contracts import WorkerCatalog
from tests.app.endpoint import Answer, Endpoint, refuses, says
from tests.service.harness import Running, give_token, running

QUESTION = {"role": "user", "content": "What is the capital of France?"}
PIXEL = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 32).decode()


@pytest.fixture
def client(service: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def test_an_answer_with_usage(client: OpenAI, service: Running) -> None:
    raw = client.chat.completions.with_raw_response.create(model="orchestai", messages=[QUESTION], temperature=0.2)
    found = raw.parse()
    assert found.choices[0].message.content == "Paris"
    assert found.choices[0].finish_reason == "stop"
    assert found.model == "orchestai"
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (12, 3, 15)
    execution_id = raw.headers["x-execution-id"]
    assert found.id == f"chatcmpl-{execution_id}"
    assert service.http.get(f"/v1/executions/{execution_id}").json()["answer"] == "Paris"


def test_usage_is_summed_over_attempts_and_subtasks(client: OpenAI, service: Running, endpoint: Endpoint) -> None:
    text = "Translate the text to French. Then summarise the translation."
    extra = {"orchestai": {"constraints": ["short"], "priority": "high"}}
    found = client.chat.completions.create(
        model="orchestai", messages=[{"role": "user", "content": text}], extra_body=extra
    )
    assert len(endpoint.requests) > 1
    assert found.usage is not None
    assert found.usage.total_tokens == 15 * len(endpoint.requests)


@pytest.mark.parametrize("usage", [True, False])
def test_a_stream_with_usage_in_the_last_chunk(client: OpenAI, usage: bool) -> None:
    options = {"include_usage": True} if usage else None
    with client.chat.completions.create(
        model="orchestai", messages=[QUESTION], stream=True, stream_options=options
    ) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Paris"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert len({chunk.id for chunk in chunks}) == 1
    if usage:
        assert chunks[-1].choices == []
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.total_tokens == 15
    else:
        assert all(chunk.usage is None for chunk in chunks)


def test_pieces_are_handed_on_as_the_worker_writes_them(client: OpenAI, endpoint: Endpoint) -> None:
    shown = threading.Event()
    endpoint.answer = pieces(b"Pa", b"ris", wait=shown)
    text = ""
    with client.chat.completions.create(model="orchestai", messages=[QUESTION], stream=True) as stream:
        for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            if text == "Pa":
                shown.set()  # the first piece is here before the worker has written the second
    assert text == "Paris"


def test_an_answer_that_breaks_off_is_not_begun_again(client: OpenAI, endpoint: Endpoint) -> None:
    endpoint.answer = pieces(b"Pa", None)
    told: list[str] = []

    def read() -> None:
        with client.chat.completions.create(model="orchestai", messages=[QUESTION], stream=True) as stream:
            told.extend(chunk.choices[0].delta.content or "" for chunk in stream)

    with pytest.raises(openai.APIError):
        read()
    assert "".join(told) == "Pa"
    assert len(endpoint.requests) == 1


def test_an_answer_with_personal_data_comes_whole(client: OpenAI, endpoint: Endpoint) -> None:
    endpoint.answer = lambda request: says("Write to <EMAIL_1>.")(request)
    asked = {"role": "user", "content": "Whom do I write to? anna@example.org knows."}
    with client.chat.completions.create(model="orchestai", messages=[asked], stream=True) as stream:
        contents = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
    assert "Write to anna@example.org." in contents


def pieces(*parts: bytes | None, wait: threading.Event | None = None) -> Answer:
    """Stream the parts in OpenAI's format, the second one when `wait` is set; None breaks off."""

    def body() -> Iterator[bytes]:
        for number, part in enumerate(parts):
            if number == 1 and wait is not None:
                assert wait.wait(10)
            if part is None:
                return
            yield b'data: {"choices": [{"index": 0, "delta": {"content": "%s"}}]}\n\n' % part
        yield b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'

    return lambda _request: Response(body(), content_type="text/event-stream")


def test_what_was_said_before_is_context(client: OpenAI, endpoint: Endpoint) -> None:
    client.chat.completions.create(
        model="orchestai",
        messages=[
            {"role": "system", "content": "Answer like a pirate."},
            {"role": "user", "content": "My name is Eva."},
            {"role": "assistant", "content": "Ahoy Eva."},
            {"role": "user", "content": [{"type": "text", "text": "What is my name?"}]},
        ],
    )
    prompt = endpoint.prompts[-1]
    assert "System: Answer like a pirate.\n\nUser: My name is Eva.\n\nAssistant: Ahoy Eva." in prompt
    assert "What is my name?" in prompt


def test_pictures_reach_a_worker_that_sees(service: Running, client: OpenAI, project: Project) -> None:
    content = [
        {"type": "text", "text": "Describe this image."},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
    ]
    raw = client.chat.completions.with_raw_response.create(
        model="orchestai", messages=[{"role": "user", "content": content}]
    )
    found = service.http.get(f"/v1/executions/{raw.headers['x-execution-id']}").json()
    assert found["subtasks"][0]["task_type"] == "image_analysis"
    stored = service.service.store.find(found["execution_id"])
    assert stored is not None
    assert stored.instruction.inputs == {"image": PIXEL}


def test_pictures_elsewhere_are_not_fetched(client: OpenAI) -> None:
    content = [
        {"type": "text", "text": "Describe this image."},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    ]
    with pytest.raises(openai.BadRequestError, match="must be a data URL") as error:
        client.chat.completions.create(model="orchestai", messages=[{"role": "user", "content": content}])
    assert error.value.code == "not_a_data_url"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"n": 2}, "n"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"temprature": 1}, "temprature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "a"}]}, "messages"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(client: OpenAI, change: dict[str, object], param: str) -> None:
    body = {"messages": [QUESTION], **change}
    messages = body.pop("messages")
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model="orchestai", messages=messages, extra_body=body)  # type: ignore[arg-type]
    assert error.value.type == "invalid_request_error"
    assert error.value.param == param


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["orchestai"]
    assert client.models.retrieve("orchestai").owned_by == "orchestai"
    with pytest.raises(openai.NotFoundError, match="There is no model 'gpt-x'"):
        client.models.retrieve("gpt-x")
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model="gpt-x", messages=[QUESTION])
    assert (error.value.code, error.value.param) == ("model_not_found", "model")


def test_a_worker_that_stays_down(client: OpenAI, endpoint: Endpoint) -> None:
    endpoint.answer = refuses(500, "broken")
    with pytest.raises(openai.InternalServerError) as error:
        client.chat.completions.create(model="orchestai", messages=[QUESTION])
    assert error.value.status_code == 503
    assert error.value.type == "server_error"
    assert "retry-after" in error.value.response.headers
    with pytest.raises(openai.APIError, match=r"Sub-task 0 .* failed"):
        list(client.chat.completions.create(model="orchestai", messages=[QUESTION], stream=True))


def test_tokens(project: Project) -> None:
    key = give_token(project, "app", rate_per_minute=1)["Authorization"].removeprefix("Bearer ")
    with running(project) as service:
        with (
            OpenAI(base_url=f"{service.url}/v1", api_key="wrong", max_retries=0) as wrong,
            pytest.raises(openai.AuthenticationError),
        ):
            wrong.models.list()
        with OpenAI(base_url=f"{service.url}/v1", api_key=key, max_retries=0) as right:
            right.models.list()
            with pytest.raises(openai.RateLimitError):
                right.models.list()


def test_a_plan_that_waits_is_an_error_that_says_how_to_go_on(project: Project) -> None:
    workers = tuple(worker.model_copy(update={"external_effects": True}) for worker in project.workers.profiles())
    careful = project.model_copy(update={"workers": WorkerCatalog(workers=workers)})
    with (
        running(careful) as service,
        OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client,
    ):
        with pytest.raises(openai.ConflictError, match=r"POST /v1/executions/[0-9a-f]+/approve") as error:
            client.chat.completions.create(model="orchestai", messages=[QUESTION])
        assert error.value.code == "approval_needed"
