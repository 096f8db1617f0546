"""`models` and `feedback` from the shell."""

from datetime import UTC, datetime

import torch

from orchestai.checkpoint import save_checkpoint
from orchestai.checkpoint.manifest import ManifestFields
from orchestai.logs import ExecutionLogger, ExecutionLogRecord
from orchestai.logs.feedback import feedback_of, labels_of
from orchestai.logs.record import PlannerRecord
from tests.cli.conftest import Cli


def train(cli: Cli, number: int) -> None:
    fields = ManifestFields(kind="phase1", seed=number, data_hash="abcdef0123")
    folder = cli.home / "checkpoints" / "phase1"
    save_checkpoint(folder, {"w": torch.ones(1) * number}, {"number": number}, fields)


def test_a_version_is_listed_shown_promoted_and_taken_back(cli: Cli) -> None:
    from orchestai.config import Settings, load_project
    from orchestai.registry import open_registry

    assert cli("models", "list", "--json").json["versions"] == []
    project = load_project(settings=Settings.from_mapping({"ORCHESTAI_HOME": str(cli.home)}))
    for number in (1, 2):
        train(cli, number)
        open_registry(project).register()

    assert cli("models", "promote", "1", "--force").code == 0
    assert cli("models", "promote", "2", "--force", "--json").json["aliases"] == {
        "champion": "2",
        "challenger": None,
        "previous": "1",
    }
    listed = cli("models", "list").out
    assert "champion" in listed
    assert "previous" in listed
    shown = cli("models", "show", "--json").json
    assert (shown["version"], shown["data_hash"], shown["seed"]) == ("2", {"phase1": "abcdef0123"}, {"phase1": 2})
    assert cli("models", "rollback", "--json").json["aliases"]["champion"] == "1"
    again = cli("models", "rollback")
    assert again.code == 2
    assert "nothing to go back to" in again.err
    assert cli("models", "show", "9").code == 2
    assert "Nothing is being released" in cli("models", "canary").out


def test_feedback_labels_an_execution_of_the_log(cli: Cli) -> None:
    logs = cli.home / "execution_logs"
    record = ExecutionLogRecord(
        timestamp=datetime.now(UTC),
        instruction="Sum it up.",
        success=True,
        cost=0.0,
        latency_ms=1.0,
        planner_outputs=PlannerRecord(),
        execution_result={},
        execution_id="execution-1",
        completed=True,
    )
    with ExecutionLogger(logs) as logger:
        logger.log(record)

    given = cli("feedback", "execution", "--bad", "--note", "It is about another report.", "--json").json

    assert (given["execution_id"], given["success"], given["source"]) == ("execution-1", False, "human")
    assert not labels_of(feedback_of(logs))["execution-1"].success
    assert cli("feedback", "execution-1", "--score", "0.8", "--judge").code == 0
    assert labels_of(feedback_of(logs))["execution-1"].success
    assert cli("feedback", "execution-1").code == 2
    assert cli("feedback", "execution-1", "--good", "--bad").code == 2
    assert "There is no execution" in cli("feedback", "nothing", "--good").err
