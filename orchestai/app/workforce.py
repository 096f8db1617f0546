"""The workers of a project and the local servers behind them, started when the first of them is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestai.app.anomaly import build_watch
from orchestai.app.arms import build_arm
from orchestai.config import Project
from orchestai.contracts import SimulationProfile, Worker, WorkerCatalog, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.endpoint import LocalEndpoint, ensure_running
from orchestai.routing.assign import Away
from orchestai.simulator import SimulatedWorker
from orchestai.workers import CircuitBreaker, LocalEndpoints, WorkerLayer
from orchestai.workers.breaker import BreakerState


class Workforce:
    """Gives workers by name; `catalog` holds their profiles as they are played, `watch` sees how they behave.

    Workers with a `base_url` are called there. The packaged model's server is used if one runs for this home,
    and started for the life of this object if not. Simulated workers run in this process.

    Args:
        project: The configuration.
        mock: Let the simulator play the real workers too.
        references: Answers that simulated workers know, by instruction text.
        trace: Puts a span around each call of a worker.
    """

    def __init__(
        self,
        project: Project,
        *,
        mock: bool,
        references: Mapping[str, str],
        trace: Callable[[Worker], Worker] | None = None,
    ) -> None:
        self._trace = trace or _as_it_is
        self._project = project
        self._references = references
        self._endpoint: LocalEndpoint | None = None
        self._arms: dict[str, Worker] = {}
        self.catalog = simulate_all(project.workers) if mock else project.workers
        self._layer = WorkerLayer(
            self.catalog,
            endpoints=self._endpoints,
            env=project.settings.env,
            factory=self._make,
            breaker=project.engine.breaker,
            limits=project.engine.limits,
            passes=self._passes,
        )
        self.watch = build_watch(project, self._layer.breakers, self.catalog, self.why_not)

    def __getitem__(self, name: str) -> Worker:
        """Return the worker called `name`.

        Raises:
            InputError: There is none.
            EndpointError: The local server that it needs cannot start.
        """
        if self.catalog[name].arm is None:
            return self._layer[name]
        if name not in self._arms:
            self._arms[name] = build_arm(self.catalog[name], self._project.arms, self.__getitem__)
        return self._arms[name]

    async def aclose(self) -> None:
        """Close connections, then stop what was started here."""
        self._arms.clear()  # they hold nothing but their members, which the layer closes
        await self._layer.aclose()
        self.stop()

    def stop(self) -> None:
        """Stop the local server if it was started here."""
        if self._endpoint is not None:
            self._endpoint.stop()
            self._endpoint = None

    @property
    def breakers(self) -> Mapping[str, CircuitBreaker]:
        """The breakers by worker."""
        return self._layer.breakers

    def why_not(self, name: str) -> str | None:
        """Say why a worker should not be chosen now; None if nothing speaks against it."""
        breaker = self._layer.breakers.get(name)
        if breaker is None or (now := breaker.snapshot()).state is not BreakerState.OPEN:
            return None
        return f"its breaker is open: {now.reason}" if now.reason else "its breaker is open"

    def away(self) -> dict[str, Away]:
        """Return the workers that should not be planned for now: those of which `why_not` has something to say."""
        return {
            name: Away(reason, self.retry_after_s(name))
            for name in self._layer.breakers
            if (reason := self.why_not(name)) is not None
        }

    def retry_after_s(self, name: str) -> float:
        """Seconds until a worker is asked again after it failed too often; 0 if it may be asked now."""
        breaker = self._layer.breakers.get(name)
        return breaker.snapshot().retry_after_s if breaker is not None else 0.0

    def _passes(self, name: str, request: WorkerRequest, output: WorkerOutput, took_ms: float) -> bool:
        return self.watch is None or self.watch.passes(request, output, worker=name, took_ms=took_ms)

    def _make(self, profile: WorkerProfile) -> Worker:
        return self._trace(self._make_untraced(profile))

    def _make_untraced(self, profile: WorkerProfile) -> Worker:
        if profile.simulated and not profile.base_url:
            return SimulatedWorker(
                profile,
                seed=self._project.simulator.seed,
                references=self._references,
                time_scale=self._project.simulator.time_scale,
            )
        return self._layer.openai_worker(profile)

    def _endpoints(self) -> LocalEndpoints:
        if self._endpoint is None:
            self._endpoint = ensure_running(self._project.endpoint, self._project.home, owned=True)
        return LocalEndpoints(model=self._endpoint.base_url)


def _as_it_is(worker: Worker) -> Worker:
    return worker


def simulate_all(workers: WorkerCatalog) -> WorkerCatalog:
    """Return the catalog with every worker played by the simulator, as mock mode needs it."""
    return WorkerCatalog(
        workers=tuple(
            worker
            if worker.simulated or worker.arm is not None
            else worker.model_copy(update={"simulation": SimulationProfile(), "base_url": None})
            for worker in workers.profiles()
        )
    )
