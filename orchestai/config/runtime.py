"""The running system: engine, logs and the two local servers."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from orchestai.contracts.base import Record


class ApprovalConfig(Record):
    """Which plans wait for a person before they run.

    Attributes:
        below_confidence: Plans that the planner is less sure of; null asks for none of them.
        external_effects: Plans with a worker whose calls change something outside.
        expires_s: How long they wait.
    """

    below_confidence: float | None = Field(default=None, ge=0, le=1)
    external_effects: bool = True
    expires_s: float = Field(default=86_400.0, gt=0)


class BreakerConfig(Record):
    """When a worker that fails again and again is left alone.

    Attributes:
        enabled: Whether breakers are used at all.
        failures: Transient failures in a row that open the breaker.
        open_s: Seconds until one call may try the worker again.
    """

    enabled: bool = True
    failures: int = Field(default=5, ge=1)
    open_s: float = Field(default=60.0, gt=0)


class AnomalyConfig(Record):
    """When a worker that behaves unlike itself is left alone; it takes a trained model (`orchestai train anomaly`).

    Attributes:
        enabled: Whether workers are watched where there is a model.
        intervene: Open the breaker of such a worker, until a probe passes; else only alert.
        false_alarms_per_1000: Alarms in 1,000 calls that are put up with while all is well; sets the threshold.
        longest_open_s: Longest time that a worker is left alone; the time doubles with each alarm that follows.
        min_calls: Fewest logged calls of a worker that are worth learning from.
        epochs: Passes over the data of the autoencoder.
        learning_rate: Its step size.
        seed: Equal seeds give equal weights on the same machine.
    """

    enabled: bool = True
    intervene: bool = True
    false_alarms_per_1000: float = Field(default=0.5, gt=0, le=100)
    longest_open_s: float = Field(default=3600.0, gt=0)
    min_calls: int = Field(default=200, ge=50)
    epochs: int = Field(default=40, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0, le=1)
    seed: int = Field(default=7, ge=0)


class LimitsConfig(Record):
    """How many calls may run and wait, beside each worker's own `max_concurrency`.

    Attributes:
        per_tenant: Calls of one tenant at a time, over all workers; null means no limit.
        max_waiting: Calls of one tenant that may wait for one worker; further ones are turned away.
    """

    per_tenant: int | None = Field(default=None, ge=1)
    max_waiting: int = Field(default=1024, ge=0)


class EngineConfig(Record):
    """How a plan is executed.

    Attributes:
        max_attempts: Calls for one sub-task, the first included.
        backoff_min_s: Pause before the second call.
        backoff_max_s: Longest pause between two calls.
        backoff_jitter_s: Random part of the pause, so that many retries do not come at once.
        max_workers: Workers tried for one sub-task, the planned one included.
        max_parallel: Sub-tasks of one execution that run at a time; null means no limit.
        default_timeout_s: Time allowed for one call if the worker sets none.
        stand_ins: Good answers that are kept, to be given again while every worker of a sub-task is down.
        default_answer: What to answer then where none is kept; null lets the sub-task fail.
        judge: Worker that judges each answer, and whose reasons go into its repair; null judges by the
            instruction's acceptance checks alone and repairs nothing.
        approval: Which plans wait for a person.
        keep_days: How long ended executions are kept for repeated requests and searches; the log keeps all.
        breaker: When a failing worker is left alone.
        anomaly: When a worker that behaves unlike itself is left alone.
        limits: How many calls may run and wait.
    """

    max_attempts: int = Field(default=3, ge=1, le=20)
    max_workers: int = Field(default=3, ge=1)
    backoff_min_s: float = Field(default=1.0, ge=0)
    backoff_max_s: float = Field(default=10.0, ge=0)
    backoff_jitter_s: float = Field(default=0.5, ge=0)
    max_parallel: int | None = Field(default=None, ge=1)
    default_timeout_s: float = Field(default=60.0, gt=0)
    stand_ins: int = Field(default=1024, ge=0)
    default_answer: str | None = None
    judge: str | None = None
    approval: ApprovalConfig = ApprovalConfig()
    keep_days: float = Field(default=30.0, gt=0)
    breaker: BreakerConfig = BreakerConfig()
    anomaly: AnomalyConfig = AnomalyConfig()
    limits: LimitsConfig = LimitsConfig()

    @model_validator(mode="after")
    def _check_backoff(self) -> Self:
        if self.backoff_min_s > self.backoff_max_s:
            raise ValueError(
                f"`backoff_min_s` must be <= `backoff_max_s`, got {self.backoff_min_s:g} > {self.backoff_max_s:g}."
            )
        return self


class LogsConfig(Record):
    """How executions are logged.

    Attributes:
        segment_bytes: Size at which a segment file is closed.
        segment_seconds: Age at which a segment file is closed.
        full_planner_outputs: Log the planner's tensors in full (about 84 KB an execution).
    """

    segment_bytes: int = Field(default=16 * 2**20, ge=1024)
    segment_seconds: float = Field(default=60.0, gt=0)
    full_planner_outputs: bool = False


class EndpointConfig(Record):
    """The packaged SmolLM2-135M-Instruct, served locally in the OpenAI format.

    Attributes:
        enabled: Start it when a worker needs it.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        threads: Threads of one answer; more than the free cores makes it slower.
        context_tokens: The most that prompt and answer may take together.
        startup_timeout_s: Time allowed until it answers.
    """

    enabled: bool = True
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8451, ge=0, le=65535)
    threads: int = Field(default=1, ge=1)
    context_tokens: int = Field(default=4096, ge=256, le=8192)
    startup_timeout_s: float = Field(default=60.0, gt=0)


class SimulatorConfig(Record):
    """The server that plays the simulated workers.

    Attributes:
        enabled: Start it when a worker needs it.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        seed: Equal seeds give equal answers, latencies and faults.
        time_scale: Factor on all simulated latencies; 0 answers at once.
    """

    enabled: bool = True
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8452, ge=0, le=65535)
    seed: int = 7
    time_scale: float = Field(default=1.0, ge=0)
