"""Every Prometheus metric, and how an execution moves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from orchestai.contracts import ExecutionResult, Plan, SubtaskRecord
from orchestai.telemetry.pulled import PulledCollector
from orchestai.telemetry.reasons import error_code, fallback_reasons
from orchestai.telemetry.sources import Sources

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_DISK_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_PLANNING_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
_CONFIDENCE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)

Add = Callable[[float], None]


class _SubtaskSeries:
    """The series of one (task type, worker): looking labels up costs more than counting."""

    __slots__ = ("attempts", "cost", "input_tokens", "output_tokens", "retries", "seconds", "statuses")

    def __init__(self, metrics: Metrics, task_type: str, worker: str) -> None:
        labels = (task_type, worker)
        self.statuses: dict[str, Add] = {}
        self.seconds: Add = metrics.subtask_seconds.labels(*labels).observe
        self.attempts: Add = metrics.subtask_attempts.labels(*labels).inc
        self.retries: Add = metrics.subtask_retries.labels(*labels).inc
        self.input_tokens: Add = metrics.subtask_tokens.labels(*labels, "input").inc
        self.output_tokens: Add = metrics.subtask_tokens.labels(*labels, "output").inc
        self.cost: Add = metrics.subtask_cost.labels(*labels).inc


class Metrics:
    """The metrics of one process, in a registry of their own.

    Args:
        sources: What is asked when the metrics are read.
    """

    def __init__(self, sources: Sources) -> None:
        registry = self.registry = CollectorRegistry()
        by_planner = ("planner",)
        by_work = ("task_type", "worker")
        by_worker = ("worker",)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"orchestai_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(f"orchestai_{name}", text, labels, registry=registry)

        def histogram(
            name: str, text: str, buckets: tuple[float, ...] = _SECONDS, labels: tuple[str, ...] = ()
        ) -> Histogram:
            return Histogram(f"orchestai_{name}", text, labels, buckets=buckets, registry=registry)

        self.executions = counter("executions", "Executions that ended, by status.", ("status", "planner"))
        self.execution_seconds = histogram(
            "execution_seconds", "From acceptance to the last durable record.", labels=by_planner
        )
        self.execution_cost = counter("execution_cost_usd", "Dollars spent by executions.", by_planner)
        self.running = gauge("executions_running", "Executions in progress, planning and logging included.")

        self.subtasks = counter("subtasks", "Sub-tasks that ended, by status.", (*by_work, "status"))
        self.subtask_seconds = histogram(
            "subtask_seconds", "From ready to finished, pauses between attempts included.", labels=by_work
        )
        self.subtask_attempts = counter("subtask_attempts", "Calls made for sub-tasks, retries included.", by_work)
        self.subtask_retries = counter("subtask_retries", "Calls after the first of a sub-task.", by_work)
        self.subtask_tokens = counter("subtask_tokens", "Tokens over all attempts.", (*by_work, "direction"))
        self.subtask_cost = counter("subtask_cost_usd", "Dollars over all attempts.", by_work)
        self.subtask_failures = counter("subtask_failures", "Failed sub-tasks, by error code.", ("worker", "code"))
        self.given_up = counter("worker_given_up", "Sub-tasks that went on to the next-best worker.", by_worker)

        self.plans = counter("plans", "Plans made.", by_planner)
        self.planning_seconds = histogram("planning_seconds", "Time to a plan.", _PLANNING_SECONDS, by_planner)
        self.fallbacks = counter("planner_fallbacks", "Why a planner gave way to the next one.", ("reason",))
        self.confidence = histogram("plan_confidence", "Confidence of plans.", _CONFIDENCE, by_planner)

        self.limiter_wait = histogram("limiter_wait_seconds", "Time that calls waited for a slot.", labels=by_worker)
        self.limiter_rejections = counter("limiter_rejections", "Calls turned away: too many wait.", by_worker)

        self.log_records = counter("log_records", "Records written to the execution log.")
        self.log_bytes = counter("log_bytes", "Bytes written to the execution log.")
        self.log_sync = histogram("log_sync_seconds", "Time to write and sync a group of records.", _DISK_SECONDS)
        self.log_errors = counter("log_errors", "Groups of records that could not be written.")
        self.store_writes = counter("store_writes", "Changes to the state of executions.")
        self.store_commit = histogram("store_commit_seconds", "Time to commit a group of changes.", _DISK_SECONDS)

        self.trained_at = gauge(
            "model_trained_timestamp_seconds", "When the model in use was trained.", ("model", "version")
        )
        self.quality = gauge("model_quality", "How the model in use was evaluated.", ("model", "metric"))

        self._work: dict[tuple[str, str], _SubtaskSeries] = {}
        registry.register(PulledCollector(sources))
        ProcessCollector(registry=registry)

    def planned(self, plan: Plan) -> None:
        """Count a plan that was made now."""
        self.plans.labels(plan.planner).inc()
        self.planning_seconds.labels(plan.planner).observe(plan.latency_ms / 1000)
        if plan.confidence is not None:
            self.confidence.labels(plan.planner).observe(plan.confidence)
        for reason in fallback_reasons(plan.fallback_reason):
            self.fallbacks.labels(reason).inc()

    def ended(self, status: str, planner: str, seconds: float, result: ExecutionResult | None) -> None:
        """Count an execution and its sub-tasks."""
        self.executions.labels(status, planner).inc()
        self.execution_seconds.labels(planner).observe(seconds)
        if result is not None:
            if result.total_cost:
                self.execution_cost.labels(planner).inc(result.total_cost)
            for record in result.subtasks:
                self._count(record)

    def _count(self, record: SubtaskRecord) -> None:
        key = (record.task_type, record.worker)
        series = self._work.get(key)
        if series is None:
            series = self._work[key] = _SubtaskSeries(self, *key)
        status = series.statuses.get(record.status)
        if status is None:
            status = series.statuses[record.status] = self.subtasks.labels(*key, record.status).inc
        status(1)
        if record.attempts:
            series.seconds(record.latency_ms / 1000)
            series.attempts(record.attempts)
            if record.attempts > 1:
                series.retries(record.attempts - 1)
        if record.input_tokens:
            series.input_tokens(record.input_tokens)
        if record.output_tokens:
            series.output_tokens(record.output_tokens)
        if record.cost_usd:
            series.cost(record.cost_usd)
        for worker in record.gave_up:
            self.given_up.labels(worker).inc()
        if record.status == "failed":
            self.subtask_failures.labels(record.worker, error_code(record.error)).inc()

    def model_in_use(
        self, model: str, version: str, trained_at: float | None, quality: Mapping[str, float] | None
    ) -> None:
        """Show the version that works now, and no longer the one before it."""
        self.trained_at.remove_by_labels({"model": model})
        self.quality.remove_by_labels({"model": model})
        if trained_at is not None:
            self.trained_at.labels(model, version).set(trained_at)
        for metric, value in (quality or {}).items():
            self.quality.labels(model, metric).set(value)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics and their content type."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self.registry), content_type
