"""What strangers send: too much, too slow, not JSON, not ours."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from orchestai.config import Project
from orchestai.service.bodies import loads, parse
from orchestai.service.chat_format import ChatRequest
from orchestai.service.problems import ProblemError
from orchestai.service.requests import InstructionRequest
from tests.app.endpoint import Endpoint
from tests.service.harness import Running, running

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"text": "a"} {}', "Extra data"),
        (b'{"text": "\xff"}', "not UTF-8 (byte 10)"),
        (b'{"text": "a", "text": "b"}', "'text' stands twice"),
        (b'{"budget": {"usd": NaN}}', "NaN is no JSON number"),
        (b'{"budget": {"usd": -Infinity}}', "-Infinity is no JSON number"),
        (b'{"budget": {"usd": 1e999}}', "too large"),
        (b'{"budget": {"tokens": ' + b"9" * 5000 + b"}}", "not JSON"),
        (b'{"text": "\\ud83d"}', "half of a surrogate pair"),
        (b'{"\\uDC00": 1}', "half of a surrogate pair"),
        (b"[" * 33 + b"]" * 33, "nested more than 32"),
        (b"[" * 100_000 + b"]" * 100_000, "nested more than 32"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "nested more than 32"),
    ],
)
def test_what_is_no_json(body: bytes, message: str) -> None:
    with pytest.raises(ProblemError) as problem:
        loads(body)
    assert problem.value.status == 400
    assert problem.value.code == "invalid_json"
    assert message in problem.value.detail


def test_what_is_json() -> None:
    assert loads(b'{"a": [1, 2.5, "\\ud83d\\ude00", null, true]}') == {"a": [1, 2.5, "\U0001f600", None, True]}
    assert loads(b"[" * 32 + b"]" * 32) is not None
    assert len(loads(json.dumps([{}] * 100).encode())) == 100, "wide is not deep"


@pytest.mark.parametrize(
    ("change", "field", "hint"),
    [
        ({"txt": "a"}, "txt", "Did you mean `text`?"),
        ({"budget": {"use": 1}}, "budget.use", "Did you mean `usd`?"),
        ({"acceptance": [{"kind": "contains", "value": "a", "valuess": []}]}, "acceptance.0.valuess", "`values`"),
        ({"zzz": 1}, "zzz", "Known: acceptance, budget"),
        ({"budget": {"usd": -1}}, "budget.usd", "greater than or equal to 0, got -1"),
        ({"budget": {"seconds": "10"}}, "budget.seconds", "valid number, got '10'"),
        ({"stream": 1}, "stream", "valid boolean, got 1"),
        ({"priority": "urgent"}, "priority", "'low', 'normal' or 'high', got 'urgent'"),
        ({"inputs": {"../a": "b"}}, "inputs.../a", "pattern"),
        ({"session": "a\u0000b"}, "session", "pattern"),
        ({"constraints": ["a\u0007"]}, "constraints.0", "control characters"),
        ({"acceptance": [{"kind": "matches", "value": "("}]}, "acceptance.0", "not a regular expression"),
    ],
)
def test_what_is_no_instruction(change: dict[str, Any], field: str, hint: str) -> None:
    with pytest.raises(ProblemError) as problem:
        parse(json.dumps({"text": "a", **change}).encode(), InstructionRequest)
    (error,) = problem.value.extensions["errors"]
    assert error["field"].startswith(field)
    assert hint in error["message"] + error.get("remedy", "")


def test_unknown_fields_deep_in_a_conversation_are_named() -> None:
    body = {"model": "orchestai", "messages": [{"role": "user", "content": "a"}], "orchestai": {"prioritty": "low"}}
    with pytest.raises(ProblemError) as problem:
        parse(json.dumps(body).encode(), ChatRequest)
    (error,) = problem.value.extensions["errors"]
    assert error == {
        "field": "orchestai.prioritty",
        "message": "unknown field.",
        "remedy": "Did you mean `priority`?",
    }


def test_texts_that_are_no_instruction(service: Running) -> None:
    for text, code in (("", "invalid_request"), ("  \n", "invalid_instruction"), ("a\u0000", "invalid_instruction")):
        response = service.post(text)
        assert (response.status_code, response.json()["code"]) == (400, code)


@pytest.mark.parametrize(
    "value",
    [
        "/etc/passwd",
        "../../etc/passwd",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "https://example.org/a.png",
        "data:text/html;base64,PGI+",
        "DATA:image/png;base64,",
        "",
    ],
)
@pytest.mark.parametrize("name", ["image", "image_2", "audio", "imagefile"])
def test_media_are_data_urls_and_never_paths(service: Running, endpoint: Endpoint, name: str, value: str) -> None:
    response = service.post(inputs={name: value})
    assert (response.status_code, response.json()["code"]) == (400, "not_a_data_url")
    assert "Paths and addresses are not read" in response.json()["remedy"]
    assert endpoint.requests == []


def test_a_path_as_text_stays_text(service: Running, endpoint: Endpoint, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("a very secret word")
    assert service.post(inputs={"text": str(secret)}).status_code == 200
    assert str(secret) in endpoint.prompts[0]
    assert "a very secret word" not in endpoint.prompts[0]


@pytest.fixture
def small(project: Project) -> Any:
    with running(project, max_body_bytes=2000, body_timeout_s=0.3, max_buffered_bytes=1500) as found:
        yield found


def test_a_body_that_says_it_is_too_large_is_not_read(small: Running) -> None:
    head = f"POST /v1/instructions HTTP/1.1\r\nHost: localhost\r\n{'Content-Type: application/json'}\r\n"
    answer = small.raw(f"{head}Content-Length: 2001\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer.lower()
    assert b"body_too_large" in answer


def test_a_body_that_turns_out_too_large_is_cut(project: Project) -> None:
    with running(project, max_body_bytes=2000) as service:
        response = service.http.post("/v1/instructions", content=iter([b" " * 1500, b" " * 1500]), headers=JSON)
        assert response.status_code == 413
        assert service.service.bodies._held == 0


def test_bodies_together_are_bounded(small: Running) -> None:
    response = small.http.post("/v1/instructions", content=b" " * 1600, headers=JSON)
    assert (response.status_code, response.json()["code"]) == (503, "overloaded")
    assert "retry-after" in response.headers
    assert small.post().status_code == 200, "what was held is given back"


def test_a_slow_body_is_given_up(small: Running) -> None:
    head = b"POST /v1/instructions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    started = time.monotonic()
    answer = small.raw(head + b'Content-Length: 20\r\n\r\n{"text"')
    assert answer.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - started < 5
    assert small.service.bodies._held == 0


def test_a_length_that_lies(small: Running) -> None:
    head = b"POST /v1/instructions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for length in (b"-5", b"12abc", b"5\r\nContent-Length: 9"):
        assert small.raw(head + b"Content-Length: " + length + b'\r\n\r\n{"text": "a"}').startswith(b"HTTP/1.1 400")
    short = small.raw(head + b'Content-Length: 3\r\nConnection: close\r\n\r\n{"text": "a"}')
    assert short.startswith(b"HTTP/1.1 400")
    assert small.http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {**JSON, "Content-Encoding": "gzip"},
    ],
)
def test_other_kinds_of_bodies(service: Running, headers: dict[str, str]) -> None:
    response = service.http.post("/v1/instructions", content=b'{"text": "a"}', headers=headers)
    assert response.status_code == 415


def test_a_pattern_that_would_take_for_ever_does_not(service: Running, endpoint: Endpoint) -> None:
    from tests.app.endpoint import says

    endpoint.answer = says("a" * 40)
    started = time.monotonic()
    response = service.post(acceptance=[{"kind": "matches", "value": "^(a|aa)+$b"}])
    assert response.status_code == 200
    assert response.json()["success"] is False
    assert time.monotonic() - started < 5
