"""Versions that change while instructions are served: soon, at once, and without dropping one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import orchestai.app.runtime
from orchestai.app.runtime import Runtime, build_runtime
from orchestai.config import CanaryConfig, Project, PromptTemplate, StageConfig
from orchestai.contracts import Instruction
from orchestai.logs import ExecutionLogRecord, read_executions
from orchestai.registry import Aliases, ModelRegistry, open_registry
from orchestai.registry.pointer import pointer_file
from orchestai.registry.records import prompt_subject
from orchestai.registry.release import promote, rollback, start_prompt_release, start_release
from orchestai.registry.store import registry_uri
from tests.app.registered import BROKEN, give_database, register, scripted_planner

NOW = datetime.now(UTC)
HALF = CanaryConfig(stages=(StageConfig(share=0.5, units=10),))


@pytest.fixture
def registered(project: Project, database: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with two versions, whose learned planners are scripted; everything else is real."""

    monkeypatch.setattr(orchestai.app.runtime, "build_planner", scripted_planner)
    registry = project.registry.model_copy(update={"poll_s": 0.05})
    reflex = project.reflex.model_copy(update={"enabled": False})
    project = project.model_copy(update={"registry": registry, "reflex": reflex})
    give_database(project, database)
    for number in (1, 2):
        register(project, number)
    return project


@pytest.fixture
def registry(registered: Project) -> ModelRegistry:
    found = open_registry(registered)
    state = found.state()
    found.change(state, state.update(aliases=Aliases(champion="1")))
    return found


@pytest.fixture
def runtime(registered: Project, registry: ModelRegistry) -> Iterator[Runtime]:
    found = build_runtime(registered, mock=True)
    yield found
    found.close()


def until(holds: Callable[[], bool]) -> float:
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < 5, "a change has to be served within 5 seconds"
        time.sleep(0.01)
    return time.monotonic() - started


def logged(project: Project) -> list[ExecutionLogRecord]:
    return sorted(read_executions(project.paths.execution_logs), key=lambda record: record.timestamp)


def test_a_project_without_a_registered_version_serves_its_checkpoint_folder(
    registered: Project,
) -> None:
    runtime = build_runtime(registered, mock=True)
    try:
        runtime.execute(Instruction(text="What is this?"))
    finally:
        runtime.close()

    (record,) = logged(registered)
    assert record.planner_outputs.model_version == "model-2", "what was trained last"
    assert record.planner_outputs.serving is None


def test_a_change_is_served_within_seconds_and_no_instruction_is_dropped(
    registered: Project, registry: ModelRegistry, runtime: Runtime
) -> None:
    ended = threading.Event()
    failures: list[BaseException] = []

    def ask(worker: int) -> None:
        number = 0
        while not ended.is_set():
            number += 1
            try:
                assert runtime.execute(Instruction(text=f"Question {number} of {worker}?")).result.completed
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=ask, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    promote(registry, "2", why="test", now=NOW)
    until(lambda: runtime.served.version == "2")
    rollback(registry, why="test", now=NOW)
    until(lambda: runtime.served.version == "1")
    ended.set()
    for thread in threads:
        thread.join()
    runtime.execute(Instruction(text="The last question?"))

    assert not failures
    served = [record.planner_outputs for record in logged(registered)]
    assert {found.serving.version for found in served if found.serving} == {"1", "2"}
    assert all(found.serving and found.model_version == f"model-{found.serving.version}" for found in served)
    assert served[-1].serving is not None
    assert served[-1].serving.version == "1"


def test_a_canary_serves_both_and_every_execution_says_which(
    registered: Project, registry: ModelRegistry, runtime: Runtime
) -> None:
    release = start_release(registry, "2", HALF, now=NOW).releases["model"]
    until(lambda: bool(runtime.served.pointer and runtime.served.pointer.releases))
    for number in range(24):
        runtime.execute(Instruction(text=f"Question {number}?"))
    runtime.execute(Instruction(text="Question 0?"))

    records = logged(registered)
    sides = [record.planner_outputs.serving for record in records]
    assert {(side.version, side.canary) for side in sides if side} == {("1", False), ("2", True)}
    for record, side in zip(records, sides, strict=True):
        assert side is not None
        (arm,) = side.arms
        assert (arm.release, arm.share, arm.version) == (release.id, 0.5, side.version)
        assert arm.arm == ("challenger" if side.canary else "champion")
        assert record.planner_outputs.model_version == f"model-{side.version}"
    first, last = sides[0], sides[-1]
    assert first is not None
    assert last is not None
    assert (first.unit, first.version) == (last.unit, last.version), "the same instruction stays on its side"


def test_a_version_that_cannot_be_loaded_leaves_the_champion(
    registered: Project, registry: ModelRegistry, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    register(registered, BROKEN)
    promote(registry, "3", why="test", now=NOW)
    until(lambda: "Version 13 cannot be loaded" in caplog.text)

    assert runtime.execute(Instruction(text="Still there?")).plan.model_version == "model-1"
    rollback(registry, why="test", now=NOW)


def test_without_the_registry_the_last_known_champion_is_served(registered: Project, registry: ModelRegistry) -> None:
    promote(registry, "2", why="test", now=NOW)
    Path(registry_uri(registered).removeprefix("sqlite:///")).unlink()

    runtime = build_runtime(registered, mock=True)
    try:
        assert runtime.execute(Instruction(text="Anybody there?")).plan.model_version == "model-2"
    finally:
        runtime.close()


def test_a_garbled_pointer_file_stops_nobody(registered: Project, runtime: Runtime) -> None:
    pointer_file(registered).write_text("{")
    time.sleep(0.2)

    assert runtime.execute(Instruction(text="Still there?")).plan.model_version == "model-1"


def test_two_prompts_are_compared_in_the_live_traffic(registered: Project, registry: ModelRegistry) -> None:
    first = next(prompt for prompt in registered.prompts if prompt.task_type == "question_answering" and prompt.active)
    second = PromptTemplate(
        name=first.name, task_type=first.task_type, version=99, active=False, template="In short: {{ task }}"
    )
    project = registered.model_copy(update={"prompts": (*registered.prompts, second)})
    subject = prompt_subject("question_answering")
    release = start_prompt_release(registry, subject, first.label, second.label, HALF, now=NOW).releases[subject]
    runtime = build_runtime(project, mock=True)
    try:
        for number in range(24):
            runtime.execute(Instruction(text=f"Question {number}?"))
    finally:
        runtime.close()

    used = set()
    for record in logged(project):
        serving = record.planner_outputs.serving
        assert serving is not None
        (arm,) = serving.arms
        assert (arm.release, arm.task_type) == (release.id, "question_answering")
        assert not serving.canary
        assert record.subtasks[0].prompt_version == arm.version
        used.add(arm.version)
    assert used == {first.label, second.label}
