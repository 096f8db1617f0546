"""`POST /v1/instructions` and what can be seen of its executions."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from werkzeug import Request, Response

from orchestai.config import Project
from orchestai.contracts import WorkerCatalog
from orchestai.logs import read_executions
from orchestai.service import events
from tests.app.endpoint import Endpoint, refuses, says
from tests.service.harness import Running, events_of, running

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_an_answer_with_what_it_took(service: Running, endpoint: Endpoint) -> None:
    response = service.post(inputs={"text": "Paris is the capital."}, constraints=["one word"], session="s-1")
    assert response.status_code == 200
    body = response.json()
    assert (body["answer"], body["status"], body["success"], body["simulated"]) == ("Paris", "finished", True, False)
    assert body["usage"] == {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15}
    assert response.headers["x-execution-id"] == body["execution_id"]
    assert "Paris is the capital." in endpoint.prompts[0]
    assert "one word" in endpoint.prompts[0]
    found = service.http.get(f"/v1/executions/{body['execution_id']}").json()
    assert found["instruction"] == "What is the capital of France?"
    assert {name: found[name] for name in ("answer", "plan", "subtasks")} == {
        name: body[name] for name in ("answer", "plan", "subtasks")
    }


def test_trace_and_request_go_through_to_the_log(service: Running, project: Project) -> None:
    response = service.post(headers={"X-Request-Id": "r-1", "traceparent": PARENT})
    assert response.headers["x-request-id"] == "r-1"
    version, trace, span, flags = response.headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", PARENT.split("-")[1], "01")
    assert span != PARENT.split("-")[2]
    (record,) = read_executions(project.paths.execution_logs)
    assert (record.source.request_id, record.source.trace_id) == ("r-1", trace)
    assert record.source.user == "anonymous"


@pytest.mark.parametrize("header", ["", "00-zz", f"ff{PARENT[2:]}", f"00-{'0' * 32}-b7ad6b7169203331-01", "00-é"])
def test_a_trace_that_is_none_is_replaced(service: Running, header: str) -> None:
    response = service.http.get("/healthz", headers={"traceparent": header.encode(), "X-Request-Id": "a b"})
    assert response.headers["traceparent"].split("-")[1] not in ("0" * 32, header[3:35])
    assert len(response.headers["x-request-id"]) == 32


def test_a_worker_that_stays_down_is_503_with_what_is_known(service: Running, endpoint: Endpoint) -> None:
    endpoint.answer = refuses(500, "broken")
    response = service.post()
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) >= 1
    body = response.json()
    assert body["code"] == "worker_unavailable"
    assert body["type"] == "urn:orchestai:problem:worker_unavailable"
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["execution"]["subtasks"][0]["attempts"] == 3
    assert service.http.get(f"/v1/executions/{body['execution_id']}").json()["completed"] is False


def test_while_the_breaker_is_open_callers_learn_when_to_come_back(service: Running, endpoint: Endpoint) -> None:
    endpoint.answer = refuses(500, "broken")
    service.post()
    response = service.post("What is the capital of Peru?")
    assert response.status_code == 503
    assert response.json()["code"] == "breaker_open"
    assert 50 < int(response.headers["retry-after"]) <= 60


@pytest.mark.parametrize(("status", "expected"), [(401, 502), (400, 400)])
def test_a_worker_that_refuses_is_told_apart(service: Running, endpoint: Endpoint, status: int, expected: int) -> None:
    endpoint.answer = refuses(status, "no")
    assert service.post().status_code == expected


def test_a_budget_that_is_used_up_is_a_result(service: Running) -> None:
    response = service.post(budget={"tokens": 1})
    assert response.status_code == 200
    assert response.json()["completed"] is False
    assert "budget" in response.json()["error"]


def test_events_in_order(service: Running) -> None:
    response = service.post(stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = events_of(response.text)
    names = [name for name, _ in events]
    assert names == ["accepted", "plan", "subtask", "piece", "subtask", "answer", "done"]
    assert [data["status"] for name, data in events if name == "subtask"] == ["running", "done"]
    assert events[3][1] == {"text": "Paris"}
    assert events[4][1]["content"] == "Paris"
    assert events[5][1] == {"execution_id": events[0][1]["execution_id"], "answer": "Paris"}
    assert events[6][1]["usage"]["total_tokens"] == 15


def test_the_promise_comes_before_the_work(service: Running, endpoint: Endpoint) -> None:
    release = threading.Event()

    def slow(request: Request) -> Response:
        assert release.wait(10)
        return says("Paris")(request)

    endpoint.answer = slow
    body = {"text": "What is the capital of France?"}
    with service.http.stream("POST", "/v1/instructions", json=body, headers={"Accept": "text/event-stream"}) as stream:
        lines = stream.iter_lines()
        while "accepted" not in next(lines):
            pass
        execution_id = stream.headers["x-execution-id"]
        assert service.service.store.find(execution_id) is not None
        release.set()
        rest = "\n".join(lines)
    assert "event: done" in rest


def test_a_reader_who_leaves_does_not_end_the_execution(service: Running, endpoint: Endpoint) -> None:
    release = threading.Event()

    def slow(request: Request) -> Response:
        assert release.wait(10)
        return says("Paris")(request)

    endpoint.answer = slow
    with service.http.stream("POST", "/v1/instructions", json={"text": "Name a city", "stream": True}) as stream:
        execution_id = stream.headers["x-execution-id"]
        assert endpoint.called.wait(10)
    release.set()
    assert service.ended(execution_id)["answer"] == "Paris"
    assert service.http.get("/metrics").text.count("orchestai_executions_in_flight 0.0") == 1


def test_a_failure_ends_the_events_with_the_reason(service: Running, endpoint: Endpoint) -> None:
    endpoint.answer = refuses(500, "broken")
    events = events_of(service.post(stream=True).text)
    assert events[-1][0] == "error"
    assert events[-1][1]["code"] == "worker_unavailable"
    assert events[-1][1]["status"] == 503


def test_an_answer_for_later(service: Running) -> None:
    response = service.post(wait=False)
    assert response.status_code == 202
    body = response.json()
    assert response.headers["location"] == body["location"] == f"/v1/executions/{body['execution_id']}"
    assert service.ended(body["execution_id"])["answer"] == "Paris"


def test_one_key_is_one_execution_however_often_and_however_it_is_sent(
    service: Running, endpoint: Endpoint, project: Project
) -> None:
    def slow(request: Request) -> Response:
        time.sleep(0.2)
        return says("Paris")(request)

    endpoint.answer = slow
    ways = [{}, {"stream": True}, {"wait": False}] * 8
    with ThreadPoolExecutor(len(ways)) as pool:
        responses = list(pool.map(lambda way: service.post(headers={"Idempotency-Key": "k-1"}, **way), ways))
    assert {response.status_code for response in responses} == {200, 202}
    assert len({response.headers["x-execution-id"] for response in responses}) == 1
    streamed = [events_of(response.text) for response, way in zip(responses, ways, strict=True) if "stream" in way]
    assert all(events[-1][0] == "done" and events[-1][1]["answer"] == "Paris" for events in streamed)
    assert len(endpoint.requests) == 1
    assert len(read_executions(project.paths.execution_logs)) == 1


def test_a_key_that_stands_for_another_request(service: Running) -> None:
    assert service.post(idempotency_key="k").status_code == 200
    conflict = service.post("Name a river", idempotency_key="k")
    assert (conflict.status_code, conflict.json()["code"]) == (409, "idempotency_key_reused")
    torn = service.post(idempotency_key="k", headers={"Idempotency-Key": "other"})
    assert (torn.status_code, torn.json()["code"]) == (400, "invalid_request")
    assert service.post(headers={"Idempotency-Key": "a b"}).status_code == 400


@pytest.fixture
def careful(project: Project) -> Project:
    """A project whose plans wait for a person."""
    workers = tuple(worker.model_copy(update={"external_effects": True}) for worker in project.workers.profiles())
    return project.model_copy(update={"workers": WorkerCatalog(workers=workers)})


def test_a_plan_waits_for_a_person_and_goes_on(careful: Project, endpoint: Endpoint) -> None:
    with running(careful) as service:
        response = service.post()
        assert response.status_code == 202
        body = response.json()
        assert body["status"] == "waiting"
        assert body["expires"] > time.time()
        assert endpoint.requests == []
        events = events_of(service.post(stream=True).text)
        assert [name for name, _ in events] == ["accepted", "waiting"]
        approved = service.http.post(f"{body['location']}/approve", json={"comment": "fine"})
        assert approved.status_code == 200
        assert service.ended(body["execution_id"])["answer"] == "Paris"
        assert service.http.get(f"{body['location']}/provenance").json()["approved"] is True
        again = service.http.post(f"{body['location']}/approve")
        assert (again.status_code, again.json()["code"]) == (409, "not_waiting")
        other = events[0][1]["execution_id"]
        rejected = service.http.post(f"/v1/executions/{other}/reject", json={"comment": "no"})
        assert rejected.json()["status"] == "rejected"
        assert rejected.json()["reason"] == "rejected by anonymous: no"
    assert len(endpoint.requests) == 1


def test_search_by_text_state_and_time_in_pages_with_costs(service: Running, endpoint: Endpoint) -> None:
    for river in ("Rhine", "Elbe", "Rhone"):
        assert service.post(f"Where is the {river}?").status_code == 200
    endpoint.answer = refuses(400, "no")
    service.post("Where is the Spree?")
    get = service.http.get
    first = get("/v1/executions", params={"limit": 3}).json()
    assert [found["text"] for found in first["executions"]] == [
        f"Where is the {river}?" for river in ("Spree", "Rhone", "Elbe")
    ]
    second = get("/v1/executions", params={"limit": 3, "cursor": first["cursor"]}).json()
    assert [found["text"] for found in second["executions"]] == ["Where is the Rhine?"]
    assert second["cursor"] is None
    assert list(first["cost_usd_by_tenant"]) == ["default"]
    assert len(get("/v1/executions", params={"text": "RH"}).json()["executions"]) == 2
    assert get("/v1/executions", params={"since": time.time() + 60}).json()["executions"] == []
    assert get("/v1/executions", params={"status": "waiting"}).json()["executions"] == []
    wrong = get("/v1/executions", params={"statuss": "waiting", "limit": 0})
    assert wrong.status_code == 400
    assert {error["field"] for error in wrong.json()["errors"]} == {"statuss", "limit"}


def test_who_made_what(service: Running, project: Project) -> None:
    body = service.post(inputs={"text": "abc"}).json()
    found = service.http.get(f"/v1/executions/{body['execution_id']}/provenance").json()
    (artifact,) = found["artifacts"]
    assert artifact["worker"] == body["subtasks"][0]["worker"]
    assert artifact["model"] == "test-model"
    assert artifact["prompt_version"] == body["subtasks"][0]["prompt_version"]
    assert (artifact["input_tokens"], artifact["output_tokens"]) == (12, 3)
    paris = "5dd272b4f316b776a7b8e3d0894b37e1e42be3d5d3b204b8a5836cc50597a6b1"
    assert found["answer_sha256"] == artifact["content_sha256"] == paris
    assert found["inputs_sha256"] == {"text": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    assert found["answer_parents"] == [artifact["id"]]
    assert found["plan"]["id"] == body["plan"]["id"]
    assert found["source"]["user"] == "anonymous"


def test_what_is_not_there(service: Running) -> None:
    for path in ("/v1/executions/nope", "/v1/executions/nope/provenance"):
        response = service.http.get(path)
        assert (response.status_code, response.json()["code"]) == (404, "unknown_execution")
    assert service.http.delete("/v1/executions/nope").status_code == 404
    assert service.http.get("/v2/instructions").json()["code"] == "unknown_path"
    response = service.http.get("/v1/instructions")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


def test_a_quiet_stream_shows_that_it_lives(
    service: Running, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.05)

    def slow(request: Request) -> Response:
        time.sleep(0.4)
        return says("Paris")(request)

    endpoint.answer = slow
    text = service.post(stream=True).text
    assert 2 <= text.count(": still here\n\n") <= 8
    assert events_of(text)[-1][0] == "done"


def test_the_sdk_example_of_the_how_to_runs(service: Running, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")
    example = page.split("```python\n")[1].split("```")[0]
    assert "http://127.0.0.1:8450" in example
    names: dict[str, object] = {}
    exec(example.replace("http://127.0.0.1:8450", service.url), names)
    names["client"].close()  # type: ignore[attr-defined]
    assert "Paris" in capsys.readouterr().out
