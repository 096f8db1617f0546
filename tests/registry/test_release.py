"""Releases from the first share to the end: every way they can go, and steps that are repeated or killed."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestai.config import CanaryConfig, Project, StageConfig
from orchestai.contracts import Instruction, ServedBy
from orchestai.errors import InputError
from orchestai.logs import ExecutionLogger, ExecutionLogRecord
from orchestai.logs.record import PlannerRecord
from orchestai.registry import Aliases, ModelRegistry, ModelVersion, open_registry, read_pointer
from orchestai.registry.assign import side_of, unit_of
from orchestai.registry.observe import observe
from orchestai.registry.records import MODEL, Release
from orchestai.registry.release import promote, rollback, start_release, step

Make = Callable[[int], ModelVersion]
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
CANARY = CanaryConfig(
    stages=(StageConfig(share=0.2, units=20), StageConfig(share=0.5, units=30, minutes=10)),
    holdback_share=0.2,
    holdback_units=15,
    reference_units=20,
    min_units=10,
)


class Traffic:
    """Executions as a service logs them while a release goes on."""

    def __init__(self, project: Project) -> None:
        self.logs = project.paths.execution_logs
        self.logger = ExecutionLogger(self.logs, clock=lambda: NOW)
        self.random = random.Random(5)
        self.count = 0

    def serve(self, release: Release, number: int, success: Callable[[bool], float], **changes: float) -> None:
        for _ in range(number):
            self.count += 1
            self.log(release, f"Instruction {self.count}", success, **changes)

    def log(
        self, release: Release, text: str, success: Callable[[bool], float], *, latency_ms: float = 100.0
    ) -> ExecutionLogRecord:
        unit = unit_of(Instruction(text=text))
        arm = side_of(release, unit)
        good = self.random.random() < success(arm.arm == "challenger")
        self.count += 1
        record = ExecutionLogRecord(
            timestamp=NOW + timedelta(seconds=self.count),
            instruction=text,
            success=good,
            cost=0.01,
            latency_ms=latency_ms + self.random.random(),
            planner_outputs=PlannerRecord(serving=ServedBy(version=arm.version, unit=unit, arms=(arm,))),
            execution_result={},
            execution_id=f"execution-{self.count}",
            completed=True,
        )
        self.logger.log(record)
        return record


@pytest.fixture
def traffic(project: Project) -> Traffic:
    return Traffic(project)


@pytest.fixture
def started(registry: ModelRegistry, make_version: Make) -> Release:
    """Version 1 is the champion, version 2 on its way."""
    make_version(1)
    make_version(2)
    state = registry.state()
    registry.change(state, state.update(aliases=Aliases(champion="1")))
    return start_release(registry, "2", CANARY, now=NOW).releases[MODEL]


def good(_challenger: bool) -> float:
    return 0.9


def bad(challenger: bool) -> float:
    return 0.2 if challenger else 0.9


def test_the_first_version_of_all_is_the_champion_at_once(registry: ModelRegistry, make_version: Make) -> None:
    state = start_release(registry, make_version(1).version, CANARY, now=NOW)

    assert state.aliases == Aliases(champion="1")
    assert state.releases == {}


def test_a_good_challenger_goes_through_all_stages_and_takes_over(
    project: Project, registry: ModelRegistry, started: Release, traffic: Traffic
) -> None:
    later = NOW + timedelta(hours=1)
    assert step(registry, traffic.logs, CANARY, now=NOW).action == "wait"
    traffic.serve(started, 200, good)

    first = step(registry, traffic.logs, CANARY, now=NOW)
    assert first.action == "advance"
    assert first.release is not None
    assert first.release.share == 0.5
    traffic.serve(first.release, 150, good)
    waiting = step(registry, traffic.logs, CANARY, now=NOW)
    assert waiting.action == "wait"
    assert "0 of 10 minutes" in waiting.why

    second = step(registry, traffic.logs, CANARY, now=later)
    assert second.action == "promote"
    assert second.state.aliases == Aliases(champion="2", previous="1")
    pointer = read_pointer(project)
    assert pointer is not None
    assert pointer.holdback is not None
    assert (pointer.champion.version if pointer.champion else None, pointer.holdback.version) == ("2", "1")

    held = second.release
    assert held is not None
    assert held.share == pytest.approx(0.8)
    traffic.serve(held, 150, good)
    last = step(registry, traffic.logs, CANARY, now=later)
    assert last.action == "finish"
    assert last.state.aliases == Aliases(champion="2", previous="1")
    assert last.state.releases == {}
    assert last.state.ended[MODEL].action == "finish"
    assert step(registry, traffic.logs, CANARY, now=later).action == "none"


def test_a_bad_challenger_is_gone_and_the_champion_stays(
    registry: ModelRegistry, started: Release, traffic: Traffic
) -> None:
    traffic.serve(started, 200, bad)

    found = step(registry, traffic.logs, CANARY, now=NOW)

    assert found.action == "rollback"
    assert "success" in found.why
    assert found.state.aliases == Aliases(champion="1")
    assert found.state.ended[MODEL].challenger == "2"


def test_harm_that_shows_after_the_decision_brings_the_former_champion_back(
    registry: ModelRegistry, started: Release, traffic: Traffic
) -> None:
    traffic.serve(started, 200, good)
    second = step(registry, traffic.logs, CANARY, now=NOW).release
    assert second is not None
    traffic.serve(second, 100, good)
    held = step(registry, traffic.logs, CANARY, now=NOW + timedelta(hours=1)).release
    assert held is not None
    assert held.phase == "holdback"
    traffic.serve(held, 1500, bad)

    found = step(registry, traffic.logs, CANARY, now=NOW + timedelta(hours=2))

    assert found.action == "rollback"
    assert found.state.aliases == Aliases(champion="1")


def test_a_challenger_that_is_slow_is_rolled_back(registry: ModelRegistry, started: Release, traffic: Traffic) -> None:
    for number in range(400):
        text = f"Question {number}"
        slow = side_of(started, unit_of(Instruction(text=text))).arm == "challenger"
        traffic.log(started, text, good, latency_ms=500.0 if slow else 100.0)

    found = step(registry, traffic.logs, CANARY, now=NOW)

    assert found.action == "rollback"
    assert found.verdict is not None
    assert found.verdict.harm == ("slow",)


def test_steps_at_a_time_and_again_change_once(
    project: Project, registry: ModelRegistry, started: Release, traffic: Traffic
) -> None:
    traffic.serve(started, 200, good)

    first = step(registry, traffic.logs, CANARY, now=NOW)
    again = step(open_registry(project), traffic.logs, CANARY, now=NOW)

    assert (first.action, again.action) == ("advance", "wait")
    assert again.state == first.state


def test_an_instruction_counts_once_and_only_what_the_release_served(started: Release, traffic: Traffic) -> None:
    first = traffic.log(started, "The same question", good)
    traffic.log(started, "The  same question", good)
    other = started.model_copy(update={"id": "another-release"})
    traffic.log(other, "Not of this release", good)

    (found,) = observe(traffic.logs, started)

    assert found.execution_id == first.execution_id
    assert found.share == started.share


def test_sides_follow_the_share_and_nobody_leaves_the_challenger(started: Release) -> None:
    units = [unit_of(Instruction(text=f"Text {number}", tenant="a")) for number in range(4000)]
    small = [side_of(started, unit).arm == "challenger" for unit in units]
    large = [side_of(started.model_copy(update={"share": 0.5}), unit).arm == "challenger" for unit in units]

    assert sum(small) / 4000 == pytest.approx(0.2, abs=0.03)
    assert sum(large) / 4000 == pytest.approx(0.5, abs=0.04)
    assert all(late for early, late in zip(small, large, strict=True) if early)
    assert unit_of(Instruction(text="Text 1", tenant="b")) != units[1]


def test_a_second_release_has_to_wait(registry: ModelRegistry, started: Release, make_version: Make) -> None:
    make_version(3)

    with pytest.raises(InputError, match="release of 2 goes on"):
        start_release(registry, "3", CANARY, now=NOW)
    assert start_release(registry, "2", CANARY, now=NOW).releases[MODEL] == started


def test_aliases_that_a_person_moves_end_the_release(
    registry: ModelRegistry, started: Release, traffic: Traffic
) -> None:
    registry._client.set_registered_model_alias(registry.name, "champion", "2")

    found = step(registry, traffic.logs, CANARY, now=NOW)

    assert found.action == "cancelled"
    assert found.state.aliases.champion == "2"
    assert found.state.releases == {}


def test_a_person_promotes_and_rolls_back(registry: ModelRegistry, started: Release) -> None:
    state = promote(registry, why="by hand", now=NOW)
    assert state.aliases == Aliases(champion="2", previous="1")
    assert state.releases == {}

    assert rollback(registry, why="by hand", now=NOW).aliases == Aliases(champion="1")
    with pytest.raises(InputError, match="nothing to go back to"):
        rollback(registry, why="by hand", now=NOW)


def test_a_log_folder_that_is_empty_waits(registry: ModelRegistry, started: Release, tmp_path: Path) -> None:
    found = step(registry, tmp_path / "nothing", CANARY, now=NOW)

    assert found.action == "wait"
    assert found.verdict is not None
    assert found.verdict.challenger_units == 0


def test_harm_is_seen_though_the_clock_of_the_service_is_behind(
    registry: ModelRegistry, make_version: Make, traffic: Traffic
) -> None:
    """The release began after midnight, and the service still writes into the folder of the day before."""
    make_version(1)
    make_version(2)
    state = registry.state()
    registry.change(state, state.update(aliases=Aliases(champion="1")))
    after_midnight = datetime(2026, 5, 2, 0, 20, tzinfo=UTC)
    release = start_release(registry, "2", CANARY, now=after_midnight).releases[MODEL]
    traffic.serve(release, 300, bad)

    done = step(registry, traffic.logs, CANARY, now=after_midnight - timedelta(hours=1))

    assert done.action == "rollback"
    assert registry.state().aliases.champion == "1"
