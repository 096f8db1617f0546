"""Closed segments start exactly one run a day and content."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, StepMaterializationData

from orchestai.config import Project
from orchestai_assets import keys
from orchestai_assets.definitions import defs
from orchestai_assets.partitions import days
from resources.orchestai_resource import OrchestAIResource
from sensors.new_execution_logs import MOST_REQUESTS, DayCursor, new_execution_logs_sensor

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


@pytest.mark.parametrize("broken", ["not json", "[]", '"text"', "", '{"2026-02-03": 1}'])
def test_a_cursor_that_is_not_ours_starts_anew(broken: str, write_segment: Write) -> None:
    path = write_segment(OLD, "a-1-1", "one")

    assert DayCursor.read(broken).changed_content(OLD, [path]) is not None


class Runs:
    """Runs as a daemon makes them of requests, ended as a test wants it."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def make(self, request: dg.RunRequest, status: dg.DagsterRunStatus, *, ingested: bool = False) -> None:
        run = self._instance.create_run_for_job(
            defs.resolve_job_def("ingest_and_validate"), tags=dict(request.tags), status=dg.DagsterRunStatus.STARTED
        )
        if ingested:
            event = dg.AssetMaterialization(keys.EXECUTION_LOGS, partition=request.partition_key)
            self._instance.report_dagster_event(
                DagsterEvent(
                    event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
                    job_name=run.job_name,
                    event_specific_data=StepMaterializationData(event),
                ),
                run.run_id,
            )
        event_type = {
            dg.DagsterRunStatus.FAILURE: dg.DagsterEventType.RUN_FAILURE,
            dg.DagsterRunStatus.SUCCESS: dg.DagsterEventType.RUN_SUCCESS,
        }.get(status)
        if event_type is not None:
            self._instance.report_dagster_event(DagsterEvent(event_type.value, run.job_name), run.run_id)


@pytest.fixture
def runs(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setattr("sensors.ingested.SETTLED_S", -1.0)
    return Runs(instance)


def test_a_day_whose_run_died_is_asked_for_again_until_it_is_ingested(
    ticker: Ticker, write_segment: Write, runs: Runs
) -> None:
    write_segment(OLD, "a-1-1", "one")
    (first,) = ticker.tick()
    runs.make(first, dg.DagsterRunStatus.STARTED)
    assert ticker.tick() == [], "it goes on"

    runs.make(first, dg.DagsterRunStatus.FAILURE)
    assert ticker.tick() == [], "another run of the same content goes on"


def test_while_a_run_of_the_day_waits_no_other_is_asked_for(
    ticker: Ticker, write_segment: Write, instance: dg.DagsterInstance
) -> None:
    write_segment(OLD, "a-1-1", "one")
    (first,) = ticker.tick()
    tags = {"dagster/partition": OLD.isoformat(), **first.tags}
    run = instance.create_run_for_job(defs.resolve_job_def("ingest_and_validate"), tags=tags)
    write_segment(OLD, "a-1-2", "two")
    write_segment(NEW, "a-1-3", "three")

    assert [request.partition_key for request in ticker.tick()] == [NEW.isoformat()]

    starting = DagsterEvent(dg.DagsterEventType.RUN_STARTING.value, run.job_name)
    instance.report_dagster_event(starting, run.run_id)
    (second,) = ticker.tick()
    assert second.partition_key == OLD.isoformat(), "it may have begun to read before the second segment was there"


def test_a_day_that_nobody_ingests_is_given_up_in_the_end(ticker: Ticker, write_segment: Write, runs: Runs) -> None:
    write_segment(OLD, "a-1-1", "one")
    (request,) = ticker.tick()
    keys_of = [request.run_key]
    for _ in range(MOST_REQUESTS - 1):
        runs.make(request, dg.DagsterRunStatus.FAILURE)
        (request,) = ticker.tick()
        keys_of.append(request.run_key)
        assert request.partition_key == OLD.isoformat()
    runs.make(request, dg.DagsterRunStatus.FAILURE)

    assert ticker.tick() == []
    assert ticker.tick() == []
    assert len(set(keys_of)) == MOST_REQUESTS, "Dagster never starts two runs with one key"


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE])
def test_a_day_that_was_ingested_is_left_alone_also_where_its_data_were_refused(
    ticker: Ticker, write_segment: Write, runs: Runs, status: dg.DagsterRunStatus
) -> None:
    write_segment(OLD, "a-1-1", "one")
    (request,) = ticker.tick()
    runs.make(request, status, ingested=True)

    assert ticker.tick() == []
    runs.make(request, dg.DagsterRunStatus.FAILURE)
    assert ticker.tick() == [], "it is not looked after any more"


def test_a_run_that_failed_just_now_is_left_to_dagster(
    ticker: Ticker, write_segment: Write, instance: dg.DagsterInstance
) -> None:
    write_segment(OLD, "a-1-1", "one")
    (request,) = ticker.tick()
    Runs(instance).make(request, dg.DagsterRunStatus.FAILURE)

    assert ticker.tick() == []
