"""What goes on by itself: when to train again, what counts as drift, compaction, freshness, alerts."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from orchestai.config.dagster import Cron
from orchestai.contracts.base import Record


class RetrainConfig(Record):
    """When new executions are worth a training.

    Attributes:
        new_rows: Executions, validated and not yet learned from, that start a training.
        on_drift: Whether drift starts one too, however few the new executions are.
        pause_minutes: Least time between two trainings that were started so.
        window_rows: The newest days, whole ones, are validated and learned from until they hold so many
            executions; older ones stay on disk.
        phase2: Whether each training of the planner goes on to Phase 2 before it is judged; a Phase 2 of an older
            planner is not used.
    """

    new_rows: int = Field(default=500, ge=1)
    on_drift: bool = True
    pause_minutes: float = Field(default=30.0, ge=0)
    window_rows: int = Field(default=200_000, ge=1)
    phase2: bool = False


class DriftConfig(Record):
    """What counts as drift between the executions before the last training and those since.

    A feature drifted when the change is both large (`max_psi` or `max_ks`) and not by chance (`alpha`).

    Attributes:
        min_rows: Executions that both sides need; with fewer nothing is said.
        max_rows: The newest executions of each side that are compared.
        reference_days: Days before the last training that the reference may go back.
        alpha: Error rate over all features together, of the calibration, and of the success rate at any time.
        max_psi: Largest population stability index.
        max_ks: Largest distance between the two distribution functions.
        max_calibration_change: Largest mean change of the success rate at equal confidence.
        ahead_minutes: Executions dated further than this into the future are left out: a clock is wrong.
    """

    min_rows: int = Field(default=200, ge=20)
    max_rows: int = Field(default=20_000, ge=100)
    reference_days: int = Field(default=30, ge=1)
    alpha: float = Field(default=0.01, gt=0, lt=1)
    max_psi: float = Field(default=0.25, gt=0)
    max_ks: float = Field(default=0.15, gt=0, le=1)
    max_calibration_change: float = Field(default=0.1, gt=0, le=1)
    ahead_minutes: float = Field(default=10.0, ge=0)


class CompactionConfig(Record):
    """When the segments of a day become its one `executions_YYYYMMDD.jsonl`.

    Attributes:
        cron: When to look, in UTC.
        after_days: Days that must have passed since the day was over, for late segments.
    """

    cron: Cron = "30 1 * * *"
    after_days: int = Field(default=2, ge=1)


class FreshnessAges(Record):
    """How old the parts of the loop may become; a check then warns.

    Attributes:
        cron: When to look, in UTC.
        validation_hours: Age of the last validation of executions.
        checkpoint_hours: Age of the planner.
        report_hours: Age of the evaluation report.
    """

    cron: Cron = "15 * * * *"
    validation_hours: float = Field(default=48.0, gt=0)
    checkpoint_hours: float = Field(default=192.0, gt=0)
    report_hours: float = Field(default=192.0, gt=0)


class AlertsConfig(Record):
    """Where alerts go beside the log.

    Attributes:
        webhook: URL that each alert is posted to; null leaves it at the log. It is a secret: use env_var().
        format: The body: all fields as JSON, or what Slack's incoming webhooks take.
        timeout_s: Time allowed for one attempt.
        attempts: Attempts for one alert.
        backoff_s: Pause after the first failed attempt; doubled after each further one.
    """

    webhook: SecretStr | None = None
    format: Literal["json", "slack"] = "json"
    timeout_s: float = Field(default=5.0, gt=0, le=60)
    attempts: int = Field(default=4, ge=1, le=10)
    backoff_s: float = Field(default=1.0, ge=0)

    @field_validator("webhook")
    @classmethod
    def _check_url(cls, webhook: SecretStr | None) -> SecretStr | None:
        if webhook is None or not webhook.get_secret_value():
            return None  # env_var('NAME', '') means none
        if not webhook.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("`webhook` must begin with http:// or https://. Use null for no webhook.")
        return webhook


class RetriesConfig(Record):
    """How often a step is tried again that failed for a passing reason.

    Attributes:
        attempts: Further attempts.
        delay_s: Pause before the first of them; doubled before each further one, and a random part on top.
    """

    attempts: int = Field(default=2, ge=0, le=10)
    delay_s: float = Field(default=5.0, ge=0)


class SensorsConfig(Record):
    """How often Dagster looks.

    Attributes:
        logs_s: Seconds between two looks for closed log segments.
        retrain_s: Seconds between two looks at what was validated.
        drift_s: Seconds between two looks for drift.
        canary_s: Seconds between two looks at a canary.
        days_per_tick: Days that one look may start.
        seconds_per_tick: Time after which a look for logs asks for no further day; the next one goes on there.
    """

    logs_s: int = Field(default=30, ge=1)
    retrain_s: int = Field(default=30, ge=1)
    drift_s: int = Field(default=300, ge=1)
    canary_s: int = Field(default=10, ge=1)
    days_per_tick: int = Field(default=30, ge=1)
    seconds_per_tick: float = Field(default=1.0, gt=0, le=30)


class AutomationConfig(Record):
    """What Dagster does without being asked.

    Attributes:
        retrain: When new executions are worth a training.
        weekly_retraining: When everything that learns is trained anew, as a cron line in UTC.
        drift: What counts as drift.
        compaction: When a day's segments become one file.
        freshness: How old the parts of the loop may become.
        alerts: Where alerts go beside the log.
        retries: How often a step is tried again.
        sensors: How often Dagster looks.
    """

    retrain: RetrainConfig = RetrainConfig()
    weekly_retraining: Cron = "0 4 * * 0"
    drift: DriftConfig = DriftConfig()
    compaction: CompactionConfig = CompactionConfig()
    freshness: FreshnessAges = FreshnessAges()
    alerts: AlertsConfig = AlertsConfig()
    retries: RetriesConfig = RetriesConfig()
    sensors: SensorsConfig = SensorsConfig()

    @model_validator(mode="after")
    def _check_drift(self) -> Self:
        if self.drift.min_rows > self.drift.max_rows:
            raise ValueError(
                f"`drift.min_rows` must be <= `drift.max_rows`, got {self.drift.min_rows} > {self.drift.max_rows}."
            )
        return self
