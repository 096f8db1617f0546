"""Arms and swarms of the catalog, through the whole runtime: declared in YAML, run by the engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from werkzeug import Request, Response

from orchestai.app.runtime import open_runtime
from orchestai.config import Project, load_project
from orchestai.contracts import Assignment, Instruction, Plan, Subtask, WorkflowGraph
from orchestai.errors import ConfigError
from tests.app.endpoint import Endpoint, load, says, write_project

ARMS: list[dict[str, Any]] = [
    {
        "name": "coder",
        "description": "Writes programs and tries them.",
        "model": "coder",
        "task_types": ["code_generation"],
        "arm": {"role": "coder", "members": ["smollm2-135m"]},
    },
    {"name": "executor", "description": "Runs programs.", "model": "executor", "arm": {"role": "executor"}},
    {"name": "retriever", "description": "Finds passages.", "model": "retriever", "arm": {"role": "retriever"}},
    {
        "name": "committee",
        "description": "Asks two and takes the common answer.",
        "model": "committee",
        "arm": {"role": "swarm", "members": ["smollm2-135m", "second"]},
    },
]


def write(folder: Path, arms: list[dict[str, Any]], **sections: dict[str, Any]) -> Path:
    configs = write_project(folder, **sections)
    second = yaml.safe_load((configs / "workers" / "packaged.yml").read_text())["workers"][0] | {"name": "second"}
    # Behind the others in the catalog: members stand above their arms.
    (configs / "workers" / "z_arms.yml").write_text(yaml.safe_dump({"workers": [second, *arms]}, sort_keys=False))
    return configs


@pytest.fixture
def project(tmp_path: Path, endpoint: Endpoint) -> Project:
    return load(write(tmp_path / "p", ARMS), tmp_path / "home", **endpoint.environment)


def plan(*steps: tuple[str, str], dependencies: tuple[tuple[int, ...], ...] = ((),)) -> Plan:
    return Plan(
        graph=WorkflowGraph(
            nodes=tuple(Subtask(task_type=task_type, description="Do it") for task_type, _ in steps),
            dependencies=dependencies,
        ),
        assignments=tuple(Assignment(worker=worker) for _, worker in steps),
        planner="given",
    )


def test_a_swarm_step_gives_the_common_answer(project: Project, endpoint: Endpoint) -> None:
    with open_runtime(project) as runtime:
        execution = runtime.execute(Instruction(text="Capital of France?"), plan(("question_answering", "committee")))
    assert execution.result.answer.casefold() == "paris"
    assert len(endpoint.requests) == 2
    assert execution.result.subtasks[0].input_tokens == 24, "both members' tokens count"


def test_code_is_written_tried_mended_and_run_in_the_sandbox(project: Project, endpoint: Endpoint) -> None:
    programs = ["```python\nprint(6 *)\n```", "```python\nprint(6 * 7)\n```"]

    def answer(request: Request) -> Response:
        return says(programs["SyntaxError" in endpoint.prompts[-1]])(request)

    endpoint.answer = answer
    with open_runtime(project) as runtime:
        execution = runtime.execute(
            Instruction(text="Print six times seven."),
            plan(("code_generation", "coder"), ("reasoning", "executor"), dependencies=((), (0,))),
        )
    assert execution.result.completed, execution.result.error
    assert execution.result.answer.strip() == "42"
    assert any("SyntaxError" in prompt for prompt in endpoint.prompts), "the first program did not run"


def test_a_program_that_fails_is_a_failed_subtask(project: Project, endpoint: Endpoint) -> None:
    with open_runtime(project) as runtime:
        execution = runtime.execute(
            Instruction(text="Run this.", inputs={"code": "raise SystemExit('no luck')"}),
            plan(("reasoning", "executor")),
        )
    assert not execution.result.completed
    assert "no luck" in (execution.result.error or "")


def test_the_retriever_searches_the_supplied_text(project: Project, endpoint: Endpoint) -> None:
    text = "The harbour opens at six. " + "Cats sleep all day. " * 200 + "Tickets cost nine euros."
    with open_runtime(project) as runtime:
        execution = runtime.execute(
            Instruction(text="What do tickets cost?", inputs={"text": text}), plan(("question_answering", "retriever"))
        )
    assert "nine euros" in execution.result.answer
    assert endpoint.requests == []


def test_only_task_types_that_a_worker_is_for_are_given_to_it(project: Project) -> None:
    from orchestai.routing.assign import candidates

    names = {
        kind: [worker.name for worker in candidates(project.tasks[kind], project.workers, project.routing)]
        for kind in ("code_generation", "summarization")
    }
    assert "coder" in names["code_generation"]
    assert "coder" not in names["summarization"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arm": {"role": "swarm", "members": ["smollm2-135m", "nobody"]}}, "there is no worker 'nobody' above"),
        ({"arm": {"role": "swarm", "members": ["smollm2-135m", "late"]}}, "there is no worker 'late' above"),
        ({"arm": {"role": "swarm", "members": ["smollm2-135m"]}}, "2 to 32 `members`, got 1"),
        ({"arm": {"role": "executor", "members": ["smollm2-135m"]}}, "has 0 `members`, got 1"),
        ({"task_types": ["code_generatoin"]}, "there is no task type 'code_generatoin'"),
    ],
)
def test_a_wrong_arm_is_named_with_file_and_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arm = {"name": "late", "description": "x", "model": "x", **change}
    with pytest.raises(ConfigError, match=r"z_arms\.yml:\d+") as caught:
        load_project(write(tmp_path / "p", [arm]))
    assert message in str(caught.value)


def test_a_judge_of_the_configuration_judges(tmp_path: Path, endpoint: Endpoint) -> None:
    configs = write(tmp_path / "p", [], engine={"judge": "second"})
    project = load(configs, tmp_path / "home", **endpoint.environment)

    def answer(request: Request) -> Response:
        if "You judge answers" in json.dumps(request.get_json()):
            good = "Paris" in request.get_json()["messages"][-1]["content"]
            return says(json.dumps({"accepted": good, "score": float(good), "reason": "Wrong city."}))(request)
        return says("Paris" if "Wrong city." in json.dumps(request.get_json()) else "Lyon")(request)

    endpoint.answer = answer
    with open_runtime(project) as runtime:
        execution = runtime.execute(
            Instruction(text="Capital of France?"), plan(("question_answering", "smollm2-135m"))
        )
    assert execution.result.answer == "Paris"
    assert execution.result.review is not None
    assert (execution.result.review.accepted, execution.result.review.repairs) == (True, 1)


def test_an_unknown_judge_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no worker 'nobody'"):
        load_project(write(tmp_path / "p", [], engine={"judge": "nobody"}))
