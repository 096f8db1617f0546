"""`evaluate --off-policy` on a log of the user's own."""

from __future__ import annotations

import random
from pathlib import Path

from orchestai.app.runtime import open_runtime
from orchestai.config import RoutingConfig
from orchestai.contracts import AcceptanceCheck, Instruction, Plan, Subtask, WorkflowGraph
from orchestai.logs import ExecutionSource
from orchestai.routing.assign import explore_workers
from tests.app.endpoint import load
from tests.cli.conftest import Cli

RUNS = 150


def explore(configs: Path, home: Path) -> None:
    """Run one instruction again and again on workers drawn at random, as a collection does."""
    project = load(configs, home)
    playing = project.model_copy(update={"routing": RoutingConfig(simulated="allow")})
    graph = WorkflowGraph(nodes=(Subtask(task_type="generation", description="Name a river."),), dependencies=((),))
    rng = random.Random(5)
    with open_runtime(playing, learned=False, references={"Name a river.": "The Rhine."}) as runtime:
        for number in range(RUNS):
            asked = Instruction(text="Name a river.", acceptance=(AcceptanceCheck(kind="contains", value="rhine"),))
            workers = project.workers.only_simulated()
            assignments = explore_workers(
                graph, asked, tasks=project.tasks, workers=workers, routing=playing.routing, rng=rng
            )
            plan = Plan(graph=graph, assignments=assignments, planner="corpus")
            source = ExecutionSource(kind="test")
            runtime.execute(asked, plan, source=source, execution_id=f"e-{number}")


def test_a_users_log_values_other_choices_of_workers(cli: Cli, configs: Path) -> None:
    explore(configs, cli.home)
    report = cli("evaluate", "--off-policy", "--json").json
    assert report["executions"] == RUNS
    assert report["simulated"] == RUNS
    uniform = report["policies"]["uniform"]
    assert uniform["measurable"]
    assert abs(uniform["value"] - report["logged"]) < 0.02, "it is the policy that made the log"
    table = cli("evaluate", "--off-policy", "--policy", "uniform", "--policy", "cheapest").out
    assert "simulated workers took part in 150" in table
    real = cli("evaluate", "--off-policy", "--policy", "smollm2-135m", "--json").json["policies"]["smollm2-135m"]
    assert not real["measurable"]
    assert "may be chosen for no sub-task" in real["reason"]


def test_an_empty_log_says_what_to_do(cli: Cli) -> None:
    shown = cli("evaluate", "--off-policy", "--policy", "uniform")
    assert shown.code == 0
    assert "not measurable" in shown.out
    assert "routing.exploration" in shown.out


def test_unknown_names_are_refused(cli: Cli) -> None:
    assert cli("evaluate", "--off-policy", "--policy", "nobody").code != 0
    assert "Known: success" in cli("evaluate", "--off-policy", "--reward", "none").err
