"""`config`, `init`, `doctor`, `collect`, `import`, and the way in."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestai.cli import console
from tests.app.endpoint import Endpoint, write_project
from tests.cli.conftest import Cli

RECORDS: list[dict[str, Any]] = [
    {
        "id": f"river-{number}",
        "template": f"rivers-{number}",
        "domain": "geography",
        "language": "en",
        "instruction": f"Name a river in region {number} in one word.",
        "nodes": [{"task_type": "question_answering", "description": "Name the river"}],
        "dependencies": [[]],
        "acceptance": [{"kind": "equals", "value": "Danube"}],
    }
    for number in range(3)
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in RECORDS))
    return path


def test_the_configuration_is_checked(cli: Cli, configs: Path) -> None:
    outcome = cli("config", "check")
    assert outcome.code == 0
    assert "10 task types · 8 workers (7 simulated)" in " ".join(outcome.out.split())


def test_every_wrong_key_is_named_with_file_and_line(cli: Cli, tmp_path: Path) -> None:
    configs = write_project(tmp_path / ("long-" * 12 + "name"))
    file = configs / "rewards" / "default.yml"
    text = file.read_text()
    file.write_text(f"{text.rstrip()}\nreward_weights: 1\n")
    line = len(text.rstrip().splitlines()) + 1
    planner = configs / "project.yml"
    planner.write_text(planner.read_text().replace("confidence_threshold:", "confidence_treshold:"))
    number = 1 + next(i for i, row in enumerate(planner.read_text().splitlines()) if "confidence_treshold" in row)
    outcome = cli("config", "check", "--project", configs)
    assert outcome.code == 2
    assert "2 problems in the configuration" in outcome.err
    assert f"rewards/default.yml:{line}: " in outcome.err
    assert "reward_weights" in outcome.err
    assert f"project.yml:{number}: planner.confidence_treshold" in outcome.err
    assert "confidence_threshold" in outcome.err, "it says what may have been meant"


def test_the_configuration_is_shown_without_secrets(cli: Cli, endpoint: Endpoint) -> None:
    outcome = cli("config", "show", "--json")
    assert outcome.code == 0
    assert outcome.json["planner"]["confidence_threshold"] == 0.6
    assert "sk-test-0123456789" not in outcome.out
    assert cli("config", "show", "routing", "--json").json == {
        "routing": {
            "simulated": "fallback",
            "checkpoint": None,
            "prefer": "thrift",
            "exploration": 0.02,
            "exploration_margin": 0.1,
        }
    }
    assert "exploration: 0.02" in cli("config", "show", "routing").out
    unknown = cli("config", "show", "colours")
    assert unknown.code == 2
    assert "unknown section 'colours'" in " ".join(unknown.err.split())


def test_schemas_are_written(cli: Cli, tmp_path: Path) -> None:
    assert cli("config", "schemas", "--out", tmp_path / "schemas").code == 0
    assert json.loads((tmp_path / "schemas" / "workers.json").read_text())["type"] == "object"


def test_init_writes_a_project_that_is_valid_and_runs(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("init", tmp_path / "mine")
    assert outcome.code == 0
    assert f"cd {tmp_path / 'mine'}" in outcome.out
    for name in ("configs/project.yml", "workspace.yaml", ".env.example", ".gitignore"):
        assert (tmp_path / "mine" / name).is_file()
    assert not list((tmp_path / "mine").rglob("*.py"))
    assert cli("config", "check", "--project", tmp_path / "mine" / "configs").code == 0
    assert cli("run", "Name a river.", "--mock", "--project", tmp_path / "mine" / "configs").code == 0


def test_init_into_an_empty_folder_is_fine_and_into_a_used_one_is_not(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert cli("init", tmp_path / "empty").code == 0
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").write_text("precious")
    for folder in ("used", "used/mine.txt", "empty"):
        outcome = cli("init", tmp_path / folder)
        assert outcome.code == 2
        assert "is not an empty folder" in outcome.err
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["mine.txt"]
    assert (tmp_path / "used" / "mine.txt").read_text() == "precious"


def test_init_where_nothing_can_be_written(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = cli("init", tmp_path / "file" / "mine")
    assert outcome.code == 1
    assert outcome.err.startswith("storage: Cannot write ")


def test_doctor_finds_all_that_a_first_run_needs(cli: Cli, endpoint: Endpoint) -> None:
    outcome = cli("doctor", "--json")
    assert outcome.code == 0
    findings = {finding["name"]: finding for finding in outcome.json}
    for name in ("project", "home", "packaged model", "encoder", "key of smollm2-135m"):
        assert findings[name]["state"] == "ok", findings[name]
    assert "make run" in findings["learned planner"]["message"]
    assert "SmolLM2-135M" in cli("doctor").out
    cli.use(OPENAI_API_KEY="")
    findings = {finding["name"]: finding for finding in cli("doctor", "--json").json}
    assert findings["key of smollm2-135m"]["state"] == "note"


def test_doctor_fails_where_the_home_cannot_be_written(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cli.use(ORCHESTAI_HOME=str(tmp_path / "file" / "[red]home"))
    outcome = cli("doctor")
    assert outcome.code == 1
    assert "✗ home" in outcome.out
    assert "file/[red]home cannot be written" in outcome.out


def test_collecting_twice_repeats_nothing(cli: Cli, corpus: Path) -> None:
    arguments = ("collect", "--corpus", corpus, "--live", "0", "--rounds", "2", "--json")
    first = cli(*arguments)
    assert first.code == 0
    assert first.json["live"]["executed"] == 0
    done = first.json["simulated"]
    assert (done["executed"], done["completed"], done["simulated"], done["skipped"]) == (6, 6, 6, 0)
    logged = {record.execution_id: record for record in cli.records}
    assert set(logged) == {f"corpus-simulated-river-{n}-{i}" for n in range(3) for i in range(2)}
    second = cli(*arguments).json["simulated"]
    assert (second["executed"], second["skipped"]) == (0, 6)
    assert len(cli.records) == 6
    more = cli("collect", "--corpus", corpus, "--live", "0", "--rounds", "3", "--json").json["simulated"]
    assert (more["executed"], more["skipped"]) == (3, 6)


def test_what_is_collected_can_be_learned_from(cli: Cli, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("collect", "--corpus", corpus, "--live", "0", "--rounds", "3")
    records = cli.records
    assert {record.planner_outputs.planner for record in records} == {"corpus"}
    assert all(record.simulated and record.completed for record in records)
    assert {record.source.template for record in records} == {f"rivers-{n}" for n in range(3)}
    assert all(record.source.split for record in records)
    # The cheapest worker, then the next dearer one, then one of the six that chat, all drawn alike.
    rounds = {number: [r for r in records if r.execution_id.endswith(f"-{number}")] for number in range(3)}
    assert [{r.subtasks[0].propensity for r in rounds[number]} for number in range(3)] == [{1.0}, {1.0}, {1 / 6}]
    (cheapest,), (next_one,) = ({r.subtasks[0].worker for r in rounds[number]} for number in range(2))
    assert cheapest != next_one
    assert len({record.subtasks[0].worker for record in records}) > 1
    assert any(record.success for record in records), "simulated workers know the accepted answer"
    monkeypatch.setattr(console.out, "width", 200)
    assert "corpus-simulated-river-0-0 " in cli("logs", "list").out, "ids that say something are not cut"


def test_live_collection_uses_real_workers_only(cli: Cli, corpus: Path, endpoint: Endpoint) -> None:
    splits = {record["template"] for record in RECORDS}
    outcome = cli("collect", "--corpus", corpus, "--live", "3", "--rounds", "0", "--json")
    assert outcome.code == 0
    live = outcome.json["live"]
    assert live["simulated"] == 0
    assert live["executed"] == len(endpoint.requests) == len(cli.records) <= len(splits)
    assert all(record.source.split == "train" for record in cli.records)


def test_a_corpus_that_is_wrong_is_named(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    missing = cli("collect", "--corpus", tmp_path / "none.jsonl")
    assert (missing.code, "There is no starter corpus at" in missing.err) == (2, True)
    corpus.write_text(corpus.read_text() + '{"id": "[red]"}\n')
    outcome = cli("collect", "--corpus", corpus, "--live", "0")
    assert outcome.code == 2
    assert "corpus.jsonl:4" in outcome.err
    assert cli.records == []


def test_collecting_without_the_workers_that_it_takes(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    configs = write_project(tmp_path / "p")
    (configs / "workers" / "simulated.yml").unlink()
    outcome = cli("collect", "--corpus", corpus, "--live", "0", "--project", configs)
    assert outcome.code == 2
    assert "The catalog has no simulated worker, and --rounds 3 asks for" in outcome.err


def test_an_unknown_data_set_is_bad_input(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("import", "nonsense", tmp_path, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "nonsense" in outcome.err


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["logs", "--help"]])
def test_help_is_no_failure(cli: Cli, arguments: list[str]) -> None:
    outcome = cli(*arguments)
    assert outcome.code == 0
    assert "Usage" in outcome.out


def test_an_unknown_command_is_exit_code_2(cli: Cli) -> None:
    outcome = cli("dance")
    assert outcome.code == 2
    assert "No such command 'dance'" in outcome.err


def test_a_start_loads_nothing_heavy(shell: Callable[..., dict[str, Any]]) -> None:
    """`orchestai --help` must not wait for torch."""
    command = shell()
    command["args"] = [
        command["args"][0],
        "-c",
        "import sys, orchestai.cli.main; "
        "print([name for name in ('torch', 'transformers', 'pandas', 'openai', 'dagster', 'matplotlib', "
        "'sklearn', 'networkx', 'great_expectations') if name in sys.modules])",
    ]
    assert subprocess.run(**command, capture_output=True, check=True).stdout.decode().strip() == "[]"
