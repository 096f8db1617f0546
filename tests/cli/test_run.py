"""`run` and `plan`: what goes in, what comes out, and the exit code."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from werkzeug import Response

from orchestai.cli import console
from tests.app.endpoint import Answer, Endpoint, refuses, says, write_project
from tests.cli.conftest import Cli

QUESTION = "What is the capital of France?"


def test_the_answer_is_on_standard_output_and_the_rest_on_standard_error(cli: Cli, endpoint: Endpoint) -> None:
    outcome = cli("run", QUESTION)
    assert (outcome.code, outcome.out) == (0, "\nParis\n\n")
    assert "question_answering → smollm2-135m" in outcome.err
    assert "done · $0 · " in outcome.err
    (record,) = cli.records
    assert f"execution {record.execution_id}" in outcome.err
    assert record.instruction == QUESTION


def test_mock_answers_are_marked(cli: Cli, endpoint: Endpoint) -> None:
    outcome = cli("run", QUESTION, "--mock")
    assert outcome.code == 0
    assert "smollm2-135m (simulated)" in outcome.err
    assert "Simulated workers took part" in outcome.err
    assert endpoint.requests == []
    assert cli.records[0].simulated


def test_a_long_answer_is_neither_wrapped_nor_changed(cli: Cli, endpoint: Endpoint) -> None:
    answer = "if x:\n\treturn 1  # :smile: [bold]not markup[/] " + "word " * 60 + "end"
    endpoint.answer = says(answer)
    assert cli("run", QUESTION).out == f"\n{answer}\n\n"


def test_standard_input(cli: Cli, endpoint: Endpoint) -> None:
    assert cli("run", "-", stdin="Où est Lyon ?\n".encode()).code == 0
    assert cli.records[0].instruction == "Où est Lyon ?"


def test_json_is_one_document_and_nothing_else(cli: Cli) -> None:
    outcome = cli("run", "Summarize it, then translate it into French.", "--mock", "--json")
    body = outcome.json
    assert outcome.code == 0
    assert body["success"] is body["completed"] is body["simulated"] is True
    assert body["answer"]
    assert [node["task_type"] for node in body["plan"]["graph"]["nodes"]] == ["summarization", "translation"]
    assert body["result"]["subtasks"][1]["status"] == "done"
    assert body["execution_id"] == cli.records[0].execution_id


def test_a_failure_in_json_has_the_same_form_and_its_exit_code(cli: Cli, endpoint: Endpoint) -> None:
    endpoint.answer = refuses(401, "no key")
    outcome = cli("run", QUESTION, "--json")
    assert outcome.code == 1
    assert outcome.json["completed"] is False
    assert "worker_auth" in outcome.json["result"]["error"]


def test_a_dry_run_calls_and_logs_nothing(cli: Cli, endpoint: Endpoint) -> None:
    outcome = cli("run", QUESTION, "--dry-run")
    assert outcome.code == 0
    assert "Nothing was run." in outcome.out
    assert "the only worker for chat calls" in outcome.out
    plan = cli("run", QUESTION, "--dry-run", "--json").json
    assert plan["assignments"][0]["worker"] == "smollm2-135m"
    assert cli("plan", QUESTION, "--json").json["graph"] == plan["graph"]
    assert endpoint.requests == []
    assert not (cli.home / "execution_logs").exists()


def test_a_budget_that_is_too_small_makes_no_call(cli: Cli, endpoint: Endpoint) -> None:
    cli.use(ORCHESTAI_OPENAI_OUTPUT_USD_PER_MTOK="1000")
    outcome = cli("run", QUESTION, "--budget-usd", "0.01")
    assert outcome.code == 1
    assert "infeasible" in outcome.err
    assert "the cheapest feasible (smollm2-135m)" in " ".join(outcome.err.split())
    assert endpoint.requests == []
    assert cli("run", QUESTION, "--budget-usd", "10").code == 0


def test_a_time_that_is_too_short_ends_the_execution(cli: Cli, endpoint: Endpoint) -> None:
    endpoint.answer = lambda request: (time.sleep(0.4), says("late")(request))[1]
    outcome = cli("run", QUESTION, "--budget-seconds", "0.1")
    assert outcome.code == 1
    assert "deadline_exceeded" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "stdin", "problem"),
    [
        ([""], b"", "invalid_instruction: The instruction is empty"),
        (["-"], b" \n\t ", "invalid_instruction: The instruction is empty"),
        (["-"], b"", "invalid_instruction: The instruction is empty"),
        (["x" * 100_000], b"", "100,000 characters; 32,768 are allowed"),
        (["-"], b"x" * 1_000_000, "1,000,000 characters"),
        (["-"], b"\xff\xfe\x00binary", "Standard input is not UTF-8 text (byte 0)"),
        (["-"], b"a\x00b", "control character U+0000 at position 1"),
        (["clear \x1b[2J"], b"", "control character U+001B"),
        (["half \udcff"], b"", "control character U+DCFF"),
        ([QUESTION, "--priority", "urgent"], b"", "must be low, normal or high, got 'urgent'"),
        ([QUESTION, "--budget-usd", "nan"], b"", "`budget.usd`"),
        ([QUESTION, "--budget-usd", "-1"], b"", "--budget-usd"),
        ([QUESTION, "--budget-seconds", "0"], b"", "--budget-seconds"),
        ([QUESTION, "--no-such-option"], b"", "No such option"),
        ([], b"", "Missing argument"),
        ([QUESTION, "--target", "moon"], b"", "moon"),
        ([QUESTION, "--project", "/nowhere"], b"", "does not exist"),
    ],
)
def test_bad_input_is_exit_code_2_without_a_traceback(
    cli: Cli, arguments: list[str], stdin: bytes, problem: str
) -> None:
    outcome = cli("run", *arguments, "--mock", stdin=stdin)
    assert outcome.code == 2
    assert problem in " ".join(outcome.err.split())
    assert outcome.out == ""
    assert not (cli.home / "execution_logs").exists()


HOSTILE = "{{ 7 * 7 }} {% raw %} $(touch pwned) `id` ; rm -rf [red]red[/] [/] [link=x] :bomb: \\[x] %s {0}"


def test_a_hostile_instruction_is_only_text(cli: Cli, endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.answer = says(HOSTILE)
    outcome = cli("run", HOSTILE)
    assert outcome.code == 0
    assert outcome.out == f"\n{HOSTILE}\n\n"
    assert HOSTILE in endpoint.prompts[0], "it reaches the worker as it is"
    assert cli.records[0].instruction == HOSTILE
    assert not (tmp_path / "pwned").exists()
    shown = cli("logs", "show", cli.records[0].execution_id)
    assert shown.code == 0
    assert "[red]red[/] [/] [link=x] :bomb:" in " ".join(shown.out.replace("│", "").split())
    assert cli("logs", "list").code == 0
    assert cli("logs", "compare", cli.records[0].execution_id, cli.records[0].execution_id).code == 0


def test_terminal_escapes_in_an_answer_are_taken_out(cli: Cli, endpoint: Endpoint) -> None:
    endpoint.answer = says("a\x1b[31mred\x1b]0;title\x07\x9b2J\x08\r\u0085b\x7f\tc")
    outcome = cli("run", QUESTION)
    assert outcome.out == "\na[31mred]0;title2Jb\tc\n\n"
    execution_id = cli.records[0].execution_id
    for command in (
        ("logs", "show", execution_id),
        ("logs", "show", execution_id, "--json"),
        ("logs", "replay", execution_id),
        ("run", QUESTION, "--json"),
    ):
        outcome = cli(*command)
        assert outcome.code == 0
        assert not [
            char
            for char in outcome.out + outcome.err
            if char < "\n" or ("\x0b" <= char < " " and char != "\t") or "\x7f" <= char < "\xa0"
        ]
    assert outcome.json["answer"] == "a\x1b[31mred\x1b]0;title\x07\x9b2J\x08\r\u0085b\x7f\tc", "JSON keeps all"


def test_terminal_escapes_in_an_error_are_taken_out(cli: Cli, endpoint: Endpoint) -> None:
    endpoint.answer = refuses(400, "bad \x1b[31m[red]thing[/] [/]")
    outcome = cli("run", QUESTION)
    assert outcome.code == 1
    assert "bad [31m[red]thing[/] [/]" in outcome.err
    assert "\x1b" not in outcome.err + outcome.out


def test_the_live_tree_of_a_terminal_is_as_safe(cli: Cli, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.err, "_force_terminal", True)
    endpoint.answer = refuses(400, "bad \x1b]0;title\x07 [red]thing[/] [/]")
    outcome = cli("run", "Name a [red]river[/] [/].")
    assert outcome.code == 1
    assert "\x1b[?25l" in outcome.err, "this is the live display, which hides the cursor"
    assert "Name a [red]river[/] [/]" in outcome.err
    assert "\x1b]0;" not in outcome.err


def test_half_characters_in_an_answer_do_no_harm(cli: Cli, endpoint: Endpoint) -> None:
    endpoint.answer = says("x\ud800y")
    assert cli("run", QUESTION).out == "\nx\ufffdy\n\n"
    assert cli("run", QUESTION, "--json").json["answer"] == "x\ufffdy"


def test_inputs(cli: Cli, endpoint: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("The river is high: [red]{{ 1 }}[/].", encoding="utf-8")
    (tmp_path / "more.md").write_text("The lake is low.", encoding="utf-8")
    assert cli("run", "Summarize this.", "-i", "note.txt", "-i", "more.md", "-c", "in one line").code == 0
    for part in ("The river is high: [red]{{ 1 }}[/].", "The lake is low.", "in one line"):
        assert part in endpoint.prompts[0]
    assert sorted(cli.records[0].inputs) == ["text", "text_2"]


@pytest.mark.parametrize(
    ("name", "kind", "task_type", "worker"),
    [
        ("cat.PNG", "image", "image_analysis", "sim-vision"),
        ("call.wav", "audio", "audio_transcription", "sim-audio"),
    ],
)
def test_media_go_to_a_worker_that_reads_them(
    cli: Cli, tmp_path: Path, name: str, kind: str, task_type: str, worker: str
) -> None:
    (tmp_path / name).write_bytes(b"\x89\x00\xff")
    outcome = cli("run", "What is this about?", "--input", name, "--mock", "--json")
    assert outcome.code == 0
    assert cli.records[0].inputs == {kind: str(tmp_path / name)}
    first = outcome.json["result"]["subtasks"][0]
    assert (first["task_type"], first["worker"], first["simulated"]) == (task_type, worker, True)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nothing.txt", "invalid_input: The input 'nothing.txt' is not a file"),
        ("folder", "invalid_input: The input 'folder' is not a file"),
        ("binary.bin", "The input 'binary.bin' is not UTF-8 text (byte 1)"),
    ],
)
def test_an_input_that_cannot_be_read_is_bad_input(cli: Cli, tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary.bin").write_bytes(b"a\xff")
    outcome = cli("run", "Summarize this.", "--input", name, "--mock")
    assert outcome.code == 2
    assert problem in outcome.err


def test_two_pictures_keep_their_places(cli: Cli, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").write_bytes(b"png")
    assert cli("run", "Compare these.", "-i", "a/x.png", "-i", "b/x.png", "--mock").code == 0
    assert cli.records[0].inputs == {
        "image": str(tmp_path / "a" / "x.png"),
        "image_2": str(tmp_path / "b" / "x.png"),
    }


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda request: (time.sleep(0.8), says("late")(request))[1], "worker_timeout"),
        (refuses(429, "too many", Retry_After="0"), "rate_limited"),
        (refuses(429, "too many", Retry_After="86400"), "rate_limited"),
        (refuses(500, "broken"), "worker_unavailable"),
        (lambda _request: Response("{", content_type="application/json"), "malformed_response"),
        (refuses(401, "Incorrect API key provided"), "worker_auth"),
    ],
)
def test_a_misbehaving_endpoint_is_exit_code_1_and_logged(
    cli: Cli, endpoint: Endpoint, answer: Answer, code: str
) -> None:
    endpoint.answer = answer
    outcome = cli("run", QUESTION)
    assert outcome.code == 1
    assert outcome.out == "\n(no answer)\n\n"
    assert f"sub-task 0: {code}: " in outcome.err
    assert "sk-test-0123456789" not in outcome.err
    listed = cli("logs", "list", "--failed", "--json").json
    assert [(record["completed"], record["instruction"]) for record in listed] == [(False, QUESTION)]


def test_a_worker_that_is_down(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    cli.use(OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1", OPENAI_MODEL="m", OPENAI_API_KEY="k")
    outcome = cli("run", QUESTION)
    assert outcome.code == 1
    assert "worker_unavailable" in outcome.err
    assert "cannot be reached" in outcome.err
    assert len(cli.records) == 1


def test_a_missing_key(cli: Cli, endpoint: Endpoint) -> None:
    cli.use(OPENAI_API_KEY="")
    outcome = cli("run", QUESTION)
    assert outcome.code == 1
    assert "OPENAI_API_KEY is not set" in outcome.err
    assert not cli.records[0].completed


def test_a_missing_model_name_is_named(cli: Cli, endpoint: Endpoint) -> None:
    cli.use(OPENAI_MODEL="")
    outcome = cli("run", QUESTION)
    assert outcome.code == 2
    assert "OPENAI_MODEL" in outcome.err


def test_a_home_that_cannot_be_written(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cli.use(ORCHESTAI_HOME=str(tmp_path / "file" / "home"))
    outcome = cli("run", QUESTION, "--mock")
    assert outcome.code == 1
    assert outcome.err.startswith("storage: ")
    assert str(tmp_path / "file" / "home") in outcome.err


def test_the_port_of_the_packaged_model_is_taken(cli: Cli, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        configs = write_project(tmp_path / "p", endpoint={"port": port})
        outcome = cli("run", "Summarize it, then translate it into French.", "--project", configs)
    assert outcome.code == 1
    assert f"endpoint: The local endpoint cannot listen on 127.0.0.1:{port}: the port is taken." in outcome.err
    assert "endpoint.port" in outcome.err
    assert [subtask.status for subtask in cli.records[0].subtasks] == ["failed", "skipped"]


@pytest.mark.integration
def test_the_packaged_model_answers_without_any_setting(cli: Cli, tmp_path: Path) -> None:
    configs = write_project(tmp_path / "p", endpoint={"port": 0, "context_tokens": 1024})
    outcome = cli("run", QUESTION, "--project", configs, "--json")
    assert outcome.code == 0
    assert "paris" in outcome.json["answer"].casefold()
    assert outcome.json["simulated"] is False
    (subtask,) = cli.records[0].subtasks
    assert (subtask.worker, subtask.cost_usd, subtask.simulated) == ("smollm2-135m", 0.0, False)
    assert subtask.output_tokens > 0


def test_two_processes_at_once_both_log(cli: Cli, shell: Callable[..., dict[str, Any]]) -> None:
    commands = [shell("run", f"Name river number {number}.", "--mock", "--json") for number in (1, 2)]
    processes = [subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for command in commands]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert {json.loads(out)["execution_id"] for out, _ in outputs} == {record.execution_id for record in cli.records}
    assert {record.instruction for record in cli.records} == {"Name river number 1.", "Name river number 2."}


def test_ctrl_c_ends_with_130_and_no_traceback(
    cli: Cli, endpoint: Endpoint, shell: Callable[..., dict[str, Any]]
) -> None:
    hanging = threading.Event()
    endpoint.answer = lambda request: (hanging.wait(10), says("late")(request))[1]
    cli.use(ORCHESTAI_OPENAI_TIMEOUT_S="30")
    process = subprocess.Popen(**shell("run", QUESTION), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert endpoint.called.wait(30)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    hanging.set()
    assert process.returncode == 130
    assert err.decode().strip() == "Interrupted."
    assert out == b""


def test_a_file_is_planned(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(
        '{"id": 1, "instruction": "Translate it into French."}\n{"id": 2, "instruction": "Write a poem."}\n'
    )
    outcome = cli("plan", "--file", "in.jsonl", "--out", "out.jsonl")
    assert outcome.code == 0
    assert outcome.err.startswith("Planned 2 of 2 instructions by rules (p50 ")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["id"], row["nodes"]) for row in rows] == [("1", ["translation"]), ("2", ["generation"])]


def test_bad_lines_of_a_file_are_named_and_are_exit_code_2(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": 1, "instruction": "Write a poem."}\n[red]\n{"id": 3}\n')
    outcome = cli("plan", "--file", "in.jsonl", "--out", "out.jsonl")
    assert outcome.code == 2
    assert "Planned 1 of 3" in outcome.err
    assert "2 lines were rejected" in outcome.err
    assert "in.jsonl:2: not JSON" in outcome.err
    assert 'in.jsonl:3: a line must be an object with "id" and "instruction"' in outcome.err
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "Nothing to plan"),
        (["--file", "in.jsonl"], "--file needs --out"),
        ([QUESTION, "--out", "x"], "need --file"),
        (["--file", "none.jsonl", "--out", "x"], "No such file"),
        (["--file", "in.jsonl", "--out", "x", "--checkpoint", "none"], "invalid_checkpoint"),
        (["--file", "in.jsonl", "--out", "x", "--catalog", "none.yml"], "none.yml"),
    ],
)
def test_plan_says_what_is_missing(cli: Cli, tmp_path: Path, arguments: list[str], problem: str) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": 1, "instruction": "Write a poem."}\n')
    outcome = cli("plan", *arguments)
    assert outcome.code == 2
    assert problem in outcome.err
