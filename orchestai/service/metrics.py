"""The service's Prometheus metrics."""

from __future__ import annotations

from functools import cache

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class ServiceMetrics:
    """Counts requests, and what was turned away. Use `service_metrics`: a registry takes each name once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            "orchestai_http_requests", "Requests by route and status.", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "orchestai_http_request_seconds",
            "Time to the last byte of an answer; streams included.",
            ("route",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._rejected = Counter(
            "orchestai_http_rejected", "Requests that were turned away, by reason.", ("reason",), registry=registry
        )
        self.in_flight = Gauge("orchestai_executions_in_flight", "Executions that run.", registry=registry)
        self.queued = Gauge("orchestai_executions_queued", "Requests that wait for a place.", registry=registry)
        self.buffered = Gauge(
            "orchestai_http_buffered_bytes", "Bytes of request bodies that are held.", registry=registry
        )

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def reject(self, reason: str) -> None:
        """Count a request that was turned away."""
        self._rejected.labels(reason).inc()


@cache
def service_metrics(registry: CollectorRegistry = REGISTRY) -> ServiceMetrics:
    """Return the metrics of a registry; the default one is shared with the engine's."""
    return ServiceMetrics(registry)
