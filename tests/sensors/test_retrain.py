"""Newly validated executions, or drift, start one training; failed ones are not started again and again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from jobs.asset_jobs import TRAINS
from orchestai.app.drift import DriftReport, drift_file
from orchestai.app.json_files import write_json
from orchestai.app.retraining import RetrainState, Validated, decide_retraining
from orchestai.config import Project, RetrainConfig
from orchestai_assets import keys
from orchestai_assets.definitions import defs
from resources.orchestai_resource import OrchestAIResource
from sensors.facts import last, trainings
from sensors.retrain_on_new_data import retrain_on_new_data_sensor
from sensors.schedules import all_schedules

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
CONFIG = RetrainConfig(new_rows=100, pause_minutes=30)


def decide(state: RetrainState | None = None, **changes: object) -> tuple[str | None, RetrainState]:
    given = {"validated": Validated(500, "abc"), "learned": 300, "drift": "", "running": 0, "now": NOW, **changes}
    decision = decide_retraining(CONFIG, state or RetrainState(), **given)  # type: ignore[arg-type]
    return decision.run_key, decision.state


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, "retrain:abc"),
        ({"learned": 401}, None),
        ({"learned": 400}, "retrain:abc"),
        ({"validated": None}, None),
        ({"running": 1}, None),
        ({"learned": 450, "drift": "d1"}, "retrain:abc:d1"),
        ({"learned": 500, "drift": "d1"}, None),
        ({"learned": 900}, None),
    ],
    ids=["enough", "one too few", "just enough", "not validated", "one runs", "drift", "drift, nothing new", "deleted"],
)
def test_when_a_training_is_worth_it(changes: dict[str, object], key: str | None) -> None:
    assert decide(**changes)[0] == key


def test_a_training_that_failed_waits_for_as_many_new_executions() -> None:
    _, state = decide()  # it failed: `learned` stays where it was
    later = NOW + timedelta(hours=2)

    assert decide(state, validated=Validated(510, "def"), now=later)[0] is None
    assert decide(state, validated=Validated(600, "def"), now=later)[0] == "retrain:def"


def test_trainings_keep_a_pause_and_one_drift_is_answered_once() -> None:
    _, state = decide(drift="d1", learned=450)
    soon, later = NOW + timedelta(minutes=29), NOW + timedelta(minutes=31)
    more = Validated(700, "def")

    assert decide(state, validated=more, now=soon)[0] is None
    assert decide(state, validated=more, now=later)[0] == "retrain:def"
    few = Validated(520, "ghi")
    assert decide(state, validated=few, now=later, drift="d1")[0] is None
    assert decide(state, validated=few, now=later, drift="d2")[0] == "retrain:ghi:d2"


def test_days_that_were_taken_away_do_not_stop_it_for_ever() -> None:
    _, state = decide()
    _, state = decide(state, validated=Validated(50, "def"), learned=300)
    later = NOW + timedelta(hours=2)

    assert decide(state, validated=Validated(150, "ghi"), learned=50, now=later)[0] == "retrain:ghi"


class Loop:
    """The sensor, and what runs would have materialised."""

    def __init__(self, project: Project, instance: dg.DagsterInstance) -> None:
        config = project.automation.model_copy(update={"retrain": CONFIG})
        self.project = project.model_copy(update={"automation": config})
        self._sensor = retrain_on_new_data_sensor(config)
        self._instance = instance
        self._cursor: str | None = None
        self._resource = OrchestAIResource()

    def validate(self, executions: int, content: str, verdict: str = "approved") -> None:
        self._report(keys.DATASET_VALIDATION, {"verdict": verdict, "ingested_executions": executions}, content)

    def train(self, executions: int) -> datetime:
        self._report(keys.PHASE1_CHECKPOINT, {"ingested_executions": executions}, "weights")
        found = last(self._instance, keys.PHASE1_CHECKPOINT)
        assert found is not None
        return found.at

    def _report(self, key: dg.AssetKey, metadata: dict[str, object], content: str) -> None:
        tags = {"dagster/data_version": content}
        self._instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata, tags=tags))

    def tick(self) -> list[dg.RunRequest]:
        context = dg.build_sensor_context(
            instance=self._instance, cursor=self._cursor, definitions=defs, resources={"orchestai": self._resource}
        )
        data = self._sensor.evaluate_tick(context)
        self._cursor = data.cursor
        return list(data.run_requests or [])


@pytest.fixture
def loop(project: Project, instance: dg.DagsterInstance) -> Loop:
    return Loop(project, instance)


def test_the_sensor_counts_from_the_last_training_and_keys_by_content(loop: Loop) -> None:
    assert loop.tick() == []
    loop.validate(99, "one")
    assert loop.tick() == []
    loop.validate(100, "two")

    (asked,) = loop.tick()

    assert asked.run_key == "retrain:two"
    assert asked.tags["orchestai/reason"] == "100 new validated executions"
    assert loop.tick() == []
    loop.train(100)
    loop.validate(150, "three")
    assert loop.tick() == []


def test_refused_data_start_nothing(loop: Loop) -> None:
    loop.validate(500, "poison", verdict="refused")

    assert loop.tick() == []


def test_a_lost_cursor_gives_the_same_run_key(loop: Loop) -> None:
    loop.validate(500, "one")
    (first,) = loop.tick()
    loop._cursor = "not ours"
    (again,) = loop.tick()

    assert first.run_key == again.run_key


def test_drift_since_the_last_training_starts_one_and_that_before_it_does_not(loop: Loop) -> None:
    at = loop.train(100)
    loop.validate(110, "one")
    report = DriftReport(
        since=at, measurable=True, why="changed: cost", reference=1, current=1, id="d1", alarms=("cost",)
    )
    write_json(drift_file(loop.project), report.model_dump(mode="json"))

    (asked,) = loop.tick()
    assert asked.run_key == "retrain:one:d1"

    loop.train(110)  # by the nightly schedule, say
    loop.validate(120, "two")
    loop._cursor = None
    assert loop.tick() == []


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_never_two_trainings_at_once(project: Project, tmp_path: Path, status: dg.DagsterRunStatus) -> None:
    # Schedules open the instance by its reference, which one in memory does not have.
    quiet = {"telemetry": {"enabled": False}, "nux": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=quiet) as instance:
        no_two_trainings(Loop(project, instance), project, instance, status)


def no_two_trainings(loop: Loop, project: Project, instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> None:
    loop.validate(500, "one")
    job = defs.resolve_job_def("train_planner")
    run = instance.create_run_for_job(job, status=status, tags=dict(job.tags))
    assert trainings(instance) == 1

    assert loop.tick() == []
    schedules = {schedule.name: schedule for schedule in all_schedules(project.dagster, project.automation)}
    for name in ("nightly_retraining", "weekly_retraining"):
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=NOW, repository_def=defs.get_repository_def()
        )
        data = schedules[name].evaluate_tick(context)
        assert not data.run_requests
        assert "run or wait" in (data.skip_message or "")
    instance.delete_run(run.run_id)
    assert len(loop.tick()) == 1


def test_every_job_that_trains_says_so() -> None:
    for name in ("train_planner", "train_everything"):
        assert TRAINS.items() <= defs.resolve_job_def(name).tags.items()
