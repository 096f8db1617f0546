"""Tokens, scopes, tenants, rates, budgets."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from orchestai.config import Project, TokenConfig
from orchestai.errors import InputError, StorageError
from orchestai.service.serving import check_reach
from orchestai.service.tokens import Token, TokenBook, TokenFile, digest_of, new_secret, token_file
from tests.app.endpoint import Endpoint
from tests.service.harness import Running, give_token, running


def test_nobody_gets_in_without_a_token(project: Project, endpoint: Endpoint) -> None:
    good = give_token(project, "app")
    with running(project) as service:
        for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}):
            response = service.post(headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
        wrong = service.post(headers={"Authorization": f"Bearer {new_secret()}"})
        assert wrong.status_code == 401
        assert "invalid_token" in wrong.headers["www-authenticate"]
        assert service.http.get("/metrics").status_code == 401
        assert endpoint.requests == []
        assert service.post(headers=good).status_code == 200
        assert service.http.get("/metrics", headers=good).status_code == 200
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert service.http.get(path).status_code == 200


def test_what_is_kept_is_a_hash_that_only_the_owner_reads(project: Project) -> None:
    header = give_token(project, "app")
    path = token_file(project)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = header["Authorization"].removeprefix("Bearer ")
    assert secret not in path.read_text()
    assert digest_of(secret) in path.read_text()


@pytest.mark.parametrize(
    ("scopes", "method", "path", "status"),
    [
        (("read",), "POST", "/v1/instructions", 403),
        (("read",), "POST", "/v1/chat/completions", 403),
        (("read",), "DELETE", "/v1/executions/x", 403),
        (("run",), "GET", "/v1/executions", 403),
        (("run",), "GET", "/v1/executions/x/provenance", 403),
        (("run",), "GET", "/metrics", 403),
        (("run", "read"), "POST", "/v1/executions/x/approve", 403),
        (("run", "read"), "POST", "/v1/executions/x/reject", 403),
        (("approve",), "POST", "/v1/executions/x/approve", 404),
        (("admin",), "POST", "/v1/executions/x/approve", 404),
        (("admin",), "GET", "/v1/executions", 200),
    ],
)
def test_scopes(project: Project, scopes: tuple[str, ...], method: str, path: str, status: int) -> None:
    header = give_token(project, "app", scopes=scopes)
    with running(project) as service:
        assert service.http.request(method, path, headers=header).status_code == status


def test_a_tenant_sees_its_own_only(project: Project) -> None:
    one = give_token(project, "one", tenant="one")
    two = give_token(project, "two", tenant="two", scopes=("run", "read", "approve"))
    admin = give_token(project, "boss", tenant="three", scopes=("admin",))
    with running(project) as service:
        made = service.post("A secret of one", headers=one, idempotency_key="k").json()["execution_id"]
        for method, path in (
            ("GET", f"/v1/executions/{made}"),
            ("GET", f"/v1/executions/{made}/provenance"),
            ("DELETE", f"/v1/executions/{made}"),
            ("POST", f"/v1/executions/{made}/approve"),
        ):
            assert service.http.request(method, path, headers=two).status_code == 404
        assert service.http.get("/v1/executions", headers=two).json() == {
            "executions": [],
            "cursor": None,
            "cost_usd_by_tenant": {},
        }
        assert service.http.get("/v1/executions?tenant=one", headers=two).status_code == 403
        other = service.post("A secret of one", headers=two, idempotency_key="k")
        assert other.json()["execution_id"] != made, "keys belong to a tenant"
        assert service.http.get(f"/v1/executions/{made}", headers=one).status_code == 200
        assert service.http.get(f"/v1/executions/{made}", headers=admin).status_code == 200
        everything = service.http.get("/v1/executions", headers=admin).json()
        assert set(everything["cost_usd_by_tenant"]) == {"one", "two"}
        only = service.http.get("/v1/executions?tenant=one", headers=admin).json()
        assert [found["id"] for found in only["executions"]] == [made]


def test_a_revoked_token_is_refused_within_a_second_and_the_door_stays_shut(project: Project) -> None:
    header = give_token(project, "app")
    with running(project) as service:
        assert service.post(headers=header).status_code == 200
        TokenFile(token_file(project)).remove("app")
        time.sleep(1.1)
        assert service.post(headers=header).status_code == 401
        assert service.post().status_code == 401


def test_an_open_service_closes_when_a_token_is_made(service: Running, project: Project) -> None:
    assert service.post().status_code == 200
    header = give_token(project, "app")
    time.sleep(1.1)
    assert service.post().status_code == 401
    assert service.post(headers=header).status_code == 200


def test_an_open_service_does_not_serve_foreign_pages(service: Running) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "10.0.0.1:80"):
        response = service.post(headers={"Host": host})
        assert (response.status_code, response.json()["code"]) == (403, "foreign_host")
    for host in ("localhost:1234", "[::1]:80", "127.0.0.1", "app.localhost"):
        assert service.post(headers={"Host": host}).status_code == 200


def test_only_loopback_is_open(project: Project) -> None:
    abroad = project.model_copy(update={"service": project.service.model_copy(update={"host": "0.0.0.0"})})
    with pytest.raises(InputError, match="orchestai token create"):
        check_reach(abroad)
    check_reach(project)
    give_token(project, "app")
    check_reach(abroad)


def test_requests_a_minute(project: Project) -> None:
    slow = give_token(project, "slow", rate_per_minute=3)
    quick = give_token(project, "quick")
    with running(project) as service:
        statuses = [service.http.get("/v1/models", headers=slow).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        response = service.post(headers=slow)
        assert response.json()["code"] == "rate_limited"
        assert 1 <= int(response.headers["retry-after"]) <= 61
        assert service.post(headers=quick).status_code == 200


def test_guessing_is_held_off_and_neighbours_go_on(project: Project) -> None:
    known = give_token(project, "known")
    late = give_token(project, "late")
    with running(project, failed_logins_per_minute=5) as service:
        assert service.post(headers=known).status_code == 200
        guesses = [
            service.http.get("/v1/models", headers={"Authorization": f"Bearer {new_secret()}"}) for _ in range(8)
        ]
        assert [guess.status_code for guess in guesses] == [401] * 5 + [429] * 3
        assert int(guesses[-1].headers["retry-after"]) >= 1
        assert service.post(headers=late).status_code == 429, "a right guess is not told from a wrong one"
        assert service.post(headers=known).status_code == 200


def test_dollars_a_day(project: Project) -> None:
    workers = project.workers.model_copy(
        update={
            "workers": tuple(
                worker.model_copy(update={"input_usd_per_mtok": 1000.0, "output_usd_per_mtok": 1000.0})
                for worker in project.workers.profiles()
            )
        }
    )
    dear = project.model_copy(update={"workers": workers})
    header = give_token(dear, "app", budget_usd_per_day=1.0, scopes=("run", "read"))
    with running(dear) as service:
        first = service.post(headers=header)
        assert first.status_code == 200
        assert first.json()["cost_usd"] == pytest.approx(0.015)
        spent = service.service.spending._spent["app"]
        assert spent == pytest.approx(0.015)
    strict = TokenFile(token_file(dear))
    (token,) = strict.read()
    strict.remove("app")
    strict.add(token.model_copy(update={"budget_usd_per_day": 0.015}))
    with running(dear) as service:
        response = service.post(headers=header)
        assert (response.status_code, response.json()["code"]) == (429, "budget_exhausted")
        assert 0 < int(response.headers["retry-after"]) <= 86_400


def test_an_execution_gets_no_more_than_is_left_today(project: Project, endpoint: Endpoint) -> None:
    dear = project.model_copy(
        update={
            "workers": project.workers.model_copy(
                update={
                    "workers": tuple(
                        worker.model_copy(update={"output_usd_per_mtok": 1e6}) for worker in project.workers.profiles()
                    )
                }
            )
        }
    )
    header = give_token(dear, "app", budget_usd_per_day=0.5)
    with running(dear) as service:
        refused = service.post(headers=header, idempotency_key="k")
        assert (refused.status_code, refused.json()["code"]) == (422, "infeasible")
        assert "the cheapest feasible" in refused.json()["remedy"]
        again = service.post(headers=header, idempotency_key="k")
        assert again.status_code == 409, "the limit does not change the request, and that one has ended"
        assert "budget of $" in again.json()["detail"]
    assert endpoint.requests == []


def test_tokens_of_the_configuration(project: Project) -> None:
    secret = new_secret()
    token = TokenConfig(name="ci", sha256=digest_of(secret), tenant="ci")
    with running(project, tokens=(token,)) as service:
        assert service.post().status_code == 401
        assert service.post(headers={"Authorization": f"Bearer {secret}"}).status_code == 200


def test_a_broken_token_file_lets_nobody_in(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    secret = new_secret()
    file.add(Token(name="app", sha256=digest_of(secret)))
    now = [0.0]
    book = TokenBook((), file, clock=lambda: now[0])
    assert book.find(secret) is not None
    file.path.write_text("{")
    assert book.find(secret) is not None, "it was looked at a moment ago"
    now[0] = 2.0
    with pytest.raises(StorageError, match="cannot be read"):
        book.find(secret)


def test_the_beginning_of_a_hash_is_not_enough(tmp_path: Path) -> None:
    secret = new_secret()
    twin = TokenConfig(name="twin", sha256=digest_of(secret)[:16] + "0" * 48)
    book = TokenBook((twin,), TokenFile(tmp_path / "tokens.json"))
    assert book.find(secret) is None


def test_names_are_unique(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    file.add(Token(name="app", sha256="0" * 64))
    with pytest.raises(InputError, match="There is a token called 'app'"):
        file.add(Token(name="app", sha256="1" * 64))
    with pytest.raises(InputError, match="Known: app"):
        file.remove("other")
