"""Closed segments start exactly one run a day and content."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from orchestai.config import Project
from orchestai_assets.definitions import defs
from orchestai_assets.partitions import days
from resources.orchestai_resource import OrchestAIResource
from sensors.new_execution_logs import DayCursor, new_execution_logs_sensor

Write = Callable[..., Path]
OLD, NEW = date(2026, 2, 3), date(2026, 2, 4)


class Ticker:
    """Evaluates the sensor tick after tick, as the daemon does."""

    def __init__(self, project: Project, instance: dg.DagsterInstance, **changes: int) -> None:
        config = project.automation.sensors.model_copy(update=changes)
        self._sensor = new_execution_logs_sensor(days(project.dagster), config)
        self._instance = instance
        self._cursor: str | None = None

    def tick(self) -> list[dg.RunRequest]:
        context = dg.build_sensor_context(
            instance=self._instance,
            cursor=self._cursor,
            definitions=defs,
            resources={"orchestai": OrchestAIResource()},
        )
        data = self._sensor.evaluate_tick(context)
        self._cursor = data.cursor
        return list(data.run_requests or [])


@pytest.fixture
def ticker(project: Project, instance: dg.DagsterInstance) -> Ticker:
    return Ticker(project, instance)


def test_without_logs_nothing_starts(ticker: Ticker) -> None:
    assert ticker.tick() == []


def test_each_day_with_closed_segments_starts_one_run(ticker: Ticker, write_segment: Write) -> None:
    write_segment(OLD, "a-1-1", "one")
    write_segment(NEW, "a-1-2", "two")
    write_segment(NEW, "b-7-1", "three")

    requests = ticker.tick()

    assert [request.partition_key for request in requests] == ["2026-02-03", "2026-02-04"]
    assert len({request.run_key for request in requests}) == 2
    assert ticker.tick() == []


def test_a_late_file_of_an_old_day_starts_that_day_again(ticker: Ticker, write_segment: Write) -> None:
    write_segment(OLD, "a-1-1", "one")
    write_segment(NEW, "a-1-2", "two")
    (first, _) = ticker.tick()

    write_segment(OLD, "late-9-1", "three")
    (again,) = ticker.tick()

    assert again.partition_key == first.partition_key == "2026-02-03"
    assert again.run_key != first.run_key, "Dagster never starts two runs with one key"


def test_a_file_that_was_only_touched_starts_nothing(ticker: Ticker, write_segment: Write) -> None:
    path = write_segment(OLD, "a-1-1", "one")
    ticker.tick()

    path.touch()

    assert ticker.tick() == []


def test_a_lost_cursor_gives_the_same_run_keys(
    project: Project, instance: dg.DagsterInstance, write_segment: Write
) -> None:
    write_segment(OLD, "a-1-1", "one")

    (first,) = Ticker(project, instance).tick()
    (again,) = Ticker(project, instance).tick()

    assert first.run_key == again.run_key


def test_the_segment_of_a_dead_writer_is_closed_and_ingested(
    ticker: Ticker, write_segment: Write, project: Project
) -> None:
    path = write_segment(OLD, "dead-3-1", "one", suffix=".open")
    with path.open("ab") as stream:
        stream.write(b'{"torn')

    (request,) = ticker.tick()

    assert request.partition_key == "2026-02-03"
    assert path.with_suffix(".jsonl").exists()
    assert not path.exists()
    assert list((project.paths.quarantine / "2026-02-03").glob("*.torn.jsonl"))


def test_days_outside_of_the_partitions_are_left_out(ticker: Ticker, write_segment: Write) -> None:
    tomorrow = datetime.now(UTC).date() + timedelta(days=2)
    write_segment(date(2025, 12, 31), "a-1-1", "too old")
    write_segment(tomorrow, "a-1-2", "not yet")
    write_segment(OLD, "a-1-3", "fine")

    assert [request.partition_key for request in ticker.tick()] == ["2026-02-03"]


def test_today_is_a_partition_before_it_is_over(ticker: Ticker, write_segment: Write) -> None:
    today = datetime.now(UTC).date()
    write_segment(today, "a-1-1", "now")

    assert [request.partition_key for request in ticker.tick()] == [today.isoformat()]


def test_many_days_are_spread_over_ticks_and_none_is_lost(
    project: Project, instance: dg.DagsterInstance, write_segment: Write
) -> None:
    ticker = Ticker(project, instance, days_per_tick=2)
    wanted = [OLD + timedelta(days=number) for number in range(5)]
    for number, day in enumerate(wanted):
        write_segment(day, "a-1-1", f"execution-{number}")

    ticks = [ticker.tick() for _ in range(4)]

    assert [len(requests) for requests in ticks] == [2, 2, 1, 0]
    found = [request.partition_key for requests in ticks for request in requests]
    assert found == [day.isoformat() for day in wanted]


@pytest.mark.parametrize("broken", ["not json", "[]", '"text"', ""])
def test_a_cursor_that_is_not_ours_starts_anew(broken: str, write_segment: Write) -> None:
    path = write_segment(OLD, "a-1-1", "one")

    assert DayCursor.read(broken).changed_content(OLD, [path]) is not None
