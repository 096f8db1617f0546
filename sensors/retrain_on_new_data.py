"""Enough newly validated executions, or drift, start a training; never two at once."""

from datetime import UTC, datetime

import dagster as dg
from pydantic import ValidationError

from jobs.keys import TRAIN_PLANNER
from orchestai.app.drift import read_drift
from orchestai.app.retraining import RetrainState, Validated, decide_retraining
from orchestai.config import AutomationConfig
from orchestai_assets import keys
from resources.orchestai_resource import OrchestAIResource
from sensors.facts import Last, last, trainings


def retrain_on_new_data_sensor(config: AutomationConfig) -> dg.SensorDefinition:
    """Return the sensor."""

    @dg.sensor(
        name="retrain_on_new_data",
        job_name=TRAIN_PLANNER,
        minimum_interval_seconds=config.sensors.retrain_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Enough newly validated executions, or drift, start a training of the planner.",
    )
    def retrain_on_new_data(context: dg.SensorEvaluationContext, orchestai: OrchestAIResource) -> dg.SensorResult:
        instance = context.instance
        state = read_state(context.cursor)
        trained = last(instance, keys.PHASE1_CHECKPOINT)
        drift = read_drift(orchestai.project)
        # Drift since an older training has been answered by the newer one.
        current = drift is not None and trained is not None and drift.since == trained.at
        decision = decide_retraining(
            config.retrain,
            state,
            validated=validated(last(instance, keys.DATASET_VALIDATION)),
            learned=int(trained.metadata.get("ingested_executions", 0)) if trained else 0,
            drift=drift.id if drift is not None and current else "",
            running=trainings(instance),
            now=datetime.now(UTC),
        )
        cursor = decision.state.model_dump_json()
        if decision.run_key is None:
            return dg.SensorResult(skip_reason=decision.why, cursor=cursor)
        context.log.info(f"Training: {decision.why}")
        request = dg.RunRequest(run_key=decision.run_key, tags={"orchestai/reason": decision.why})
        return dg.SensorResult(run_requests=[request], cursor=cursor)

    return retrain_on_new_data


def read_state(cursor: str | None) -> RetrainState:
    """Return the state that Dagster kept; one that is not ours starts anew, which the run key makes harmless."""
    try:
        return RetrainState.model_validate_json(cursor) if cursor else RetrainState()
    except ValidationError:
        return RetrainState()


def validated(dataset: Last | None) -> Validated | None:
    """Return the last dataset if it passed validation."""
    if dataset is None or dataset.metadata.get("verdict") != "approved":
        return None
    return Validated(int(dataset.metadata.get("ingested_executions", 0)), dataset.data_version)
