"""`resume`, `approve` and equal runs, as the user meets them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from werkzeug import Request, Response

from tests.app.endpoint import Endpoint, says, write_project
from tests.cli.conftest import Cli

QUESTION = "What is the capital of France?"


@pytest.fixture
def careful(cli: Cli, tmp_path: Path) -> None:
    """Every plan has to be approved."""
    project = write_project(tmp_path / "p", engine={"approval": {"below_confidence": 1.0}})
    cli.use(ORCHESTAI_PROJECT_DIR=str(project))


def test_nothing_to_resume_and_nothing_to_approve(cli: Cli) -> None:
    resumed = cli("resume")
    assert (resumed.code, "Nothing was left" in resumed.err) == (0, True)
    listed = cli("approve")
    assert (listed.code, "Nothing waits" in listed.err) == (0, True)
    unknown = cli("approve", "nobody")
    assert (unknown.code, "'nobody' is unknown" in unknown.err) == (2, True)
    assert cli("resume", "nobody").code == 2


def test_a_plan_waits_is_listed_approved_and_answered(cli: Cli, endpoint: Endpoint, careful: None) -> None:
    outcome = cli("run", QUESTION)
    assert outcome.code == 4
    assert "waits for approval" in outcome.err
    (waiting,) = cli("approve", "--json").json
    assert QUESTION in cli("approve").out
    assert endpoint.requests == []
    approved = cli("approve", waiting["id"], "--by", "eva")
    assert approved.code == 0
    assert "Paris" in approved.out
    assert cli("approve", waiting["id"]).code == 2, "it does not wait any more"
    assert cli("approve", "--json").json == []


def test_a_refused_plan_is_over(cli: Cli, endpoint: Endpoint, careful: None) -> None:
    cli("run", QUESTION)
    (waiting,) = cli("approve", "--json").json
    refused = cli("approve", waiting["id"], "--reject")
    assert (refused.code, "Refused" in refused.err) == (0, True)
    assert "Nothing was left" in cli("resume").err
    assert endpoint.requests == []


def test_what_waits_can_be_cancelled_and_what_ended_cannot(cli: Cli, endpoint: Endpoint, careful: None) -> None:
    cli("run", QUESTION)
    (waiting,) = cli("approve", "--json").json
    ended = cli("cancel", waiting["id"])
    assert (ended.code, "rejected by the caller" in ended.err) == (0, True)
    again = cli("cancel", waiting["id"])
    assert (again.code, "is rejected" in again.err) == (2, True)
    assert (cli("cancel", "nobody").code, endpoint.requests) == (2, [])


def test_a_plan_allowed_for_later_is_run_by_resume(cli: Cli, endpoint: Endpoint, careful: None) -> None:
    cli("run", QUESTION)
    (waiting,) = cli("approve", "--json").json
    assert cli("approve", waiting["id"], "--later").code == 0
    assert endpoint.requests == []
    resumed = cli("resume")
    assert (resumed.code, "Paris" in resumed.out) == (0, True)


def test_a_second_run_with_the_same_key_prints_the_first_answer(cli: Cli, endpoint: Endpoint) -> None:
    assert "Paris" in cli("run", QUESTION, "--idempotency-key", "k").out
    endpoint.answer = says("Lyon")
    again = cli("run", QUESTION, "--idempotency-key", "k")
    assert (again.code, "Paris" in again.out, len(endpoint.requests)) == (0, True, 1)
    other = cli("run", "Another question?", "--idempotency-key", "k")
    assert (other.code, "was used for another request" in other.err) == (2, True)


@pytest.mark.integration
def test_a_run_that_was_killed_is_finished_by_resume(
    cli: Cli, endpoint: Endpoint, shell: Callable[..., dict[str, Any]]
) -> None:
    def slow(request: Request) -> Response:
        time.sleep(1)
        return says("Paris")(request)

    endpoint.answer = slow
    process = subprocess.Popen(**shell("run", QUESTION), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert endpoint.called.wait(60)
    process.kill()
    process.wait()
    assert cli.records == []
    endpoint.answer = says("Paris")
    resumed = cli("resume")
    assert (resumed.code, "Paris" in resumed.out) == (0, True)
    assert len(cli.records) == 1
    assert cli.records[0].attempt == 2
    assert "Nothing was left" in cli("resume").err
