"""`logs`: finding, showing, repeating and comparing executions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestai.cli.logs import parse_since
from orchestai.errors import InputError
from tests.app.endpoint import Endpoint, refuses, says, write_project
from tests.cli.conftest import Cli

QUESTION = "What is the capital of France?"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_list_shows_the_newest_first_and_can_be_limited(cli: Cli) -> None:
    for number in range(3):
        assert cli("run", f"Name river number {number}.", "--mock").code == 0
    listed = cli("logs", "list", "--json").json
    assert [record["instruction"][-2] for record in listed] == ["2", "1", "0"]
    assert len(cli("logs", "list", "-n", "2", "--json").json) == 2
    table = cli("logs", "list").out
    for record in listed:
        assert record["execution_id"][:12] in table
    assert table.count("accepted sim") == 3


def test_list_of_nothing(cli: Cli) -> None:
    assert cli("logs", "list").out == "No executions.\n"
    assert cli("logs", "list", "--json").json == []
    assert cli("logs", "list", "--failed").out == "No failed executions.\n"


def test_failed_and_since(cli: Cli, endpoint: Endpoint) -> None:
    cli("run", QUESTION)
    endpoint.answer = refuses(401, "no")
    cli("run", QUESTION)
    assert [record["completed"] for record in cli("logs", "list", "--failed", "--json").json] == [False]
    assert len(cli("logs", "list", "--since", "1h", "--json").json) == 2
    assert cli("logs", "list", "--since", "0s", "--json").json == []
    assert cli("logs", "list", "--since", "2099-01-01", "--json").json == []


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("30m", NOW - timedelta(minutes=30)),
        ("12h", NOW - timedelta(hours=12)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T06:00:00+02:00", datetime(2026, 11, 20, 4, tzinfo=UTC)),
    ],
)
def test_since_is_an_age_or_a_date(text: str, moment: datetime) -> None:
    assert parse_since(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "d", "-1d", "1.5h", "soon", "²d", "99999999999999d", "2026-13-01"])
def test_any_other_since_is_refused(cli: Cli, text: str) -> None:
    with pytest.raises(InputError, match="--since"):
        parse_since(text, NOW)
    if text:
        outcome = cli("logs", "list", f"--since={text}")
        assert (outcome.code, "`--since` must be like" in outcome.err) == (2, True)


def test_show_has_plan_answer_and_costs(cli: Cli, endpoint: Endpoint) -> None:
    cli("run", QUESTION)
    execution_id = cli.records[0].execution_id
    outcome = cli("logs", "show", execution_id[:8])
    assert outcome.code == 0
    for part in (QUESTION, "✓ 0 question_answering → smollm2-135m", "Paris", "accepted", execution_id):
        assert part in outcome.out
    assert "simulated" not in outcome.out
    assert cli("logs", "show", execution_id, "--json").json["execution_id"] == execution_id


def test_show_says_what_was_simulated_then_and_not_what_is_now(cli: Cli) -> None:
    cli("run", QUESTION, "--mock")
    assert "smollm2-135m (simulated)" in cli("logs", "show", cli.records[0].execution_id).out


def test_show_of_a_worker_that_the_catalog_lost(cli: Cli, configs: Path, tmp_path: Path) -> None:
    cli("run", "Describe the picture.", "--mock", "-i", _picture(tmp_path))
    execution_id = cli.records[0].execution_id
    smaller = write_project(tmp_path / "p")
    (smaller / "workers" / "simulated.yml").unlink()
    outcome = cli("logs", "show", execution_id, "--project", smaller)
    assert outcome.code == 0
    assert "sim-vision (simulated)" in outcome.out
    replayed = cli("logs", "replay", execution_id, "--project", smaller)
    assert replayed.code == 1
    assert "Unknown worker 'sim-vision'" in replayed.err
    assert len(cli.records) == 2, "the failed replay is an execution as well"


def _picture(folder: Path) -> Path:
    (folder / "x.png").write_bytes(b"png")
    return folder / "x.png"


@pytest.mark.parametrize("command", [("show", "none"), ("replay", "none"), ("compare", "none", "none")])
def test_an_unknown_execution_is_bad_input(cli: Cli, command: tuple[str, ...]) -> None:
    outcome = cli("logs", *command)
    assert outcome.code == 2
    assert "No execution 'none'" in outcome.err
    assert "`orchestai logs list` shows the ids" in outcome.err


def test_replay_runs_the_logged_plan_again(cli: Cli, endpoint: Endpoint) -> None:
    limits = ("--constraint", "one word", "--priority", "high", "--budget-usd", "0.5", "--budget-seconds", "30")
    cli("run", QUESTION, "-i", _note(), *limits)
    endpoint.answer = says("Lyon")
    first = cli.records[0]
    outcome = cli("logs", "replay", first.execution_id)
    assert outcome.code == 0
    assert "Paris" in outcome.out
    assert "Lyon" in outcome.out
    again = cli.records[0]
    assert again.execution_id != first.execution_id
    assert (again.instruction, again.inputs) == (first.instruction, first.inputs)
    assert (first.constraints, first.priority) == (("one word",), "high")
    assert (first.budget.usd, first.budget.seconds) == (0.5, 30)
    assert (again.constraints, again.priority, again.budget) == (first.constraints, first.priority, first.budget)
    assert again.planner_outputs.task_types == first.planner_outputs.task_types
    assert endpoint.prompts[0] == endpoint.prompts[1]


def test_replay_may_plan_anew_and_may_be_mocked(cli: Cli, endpoint: Endpoint) -> None:
    cli("run", QUESTION)
    outcome = cli("logs", "replay", cli.records[0].execution_id, "--new-plan", "--mock")
    assert outcome.code == 0
    assert len(endpoint.requests) == 1
    assert cli.records[0].simulated


def test_a_replay_that_fails_is_exit_code_1(cli: Cli, endpoint: Endpoint) -> None:
    cli("run", QUESTION)
    endpoint.answer = refuses(400, "no longer")
    outcome = cli("logs", "replay", cli.records[0].execution_id)
    assert outcome.code == 1
    assert "worker_request" in outcome.err


def test_compare_puts_two_plans_side_by_side(cli: Cli) -> None:
    cli("run", QUESTION, "--mock")
    cli("run", "Translate it into French.", "--mock")
    second, first = (record.execution_id for record in cli.records)
    outcome = cli("logs", "compare", first, second)
    assert outcome.code == 0
    for part in (first[:32], second[:32], "question_answering", "translation", "Translate it into French."):
        assert part in outcome.out


def _note() -> Path:
    Path("note.txt").write_text("Europe", encoding="utf-8")
    return Path("note.txt")
