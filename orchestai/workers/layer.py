"""All workers of a catalog, each made when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from pydantic import SecretStr

from orchestai.config import BreakerConfig, LimitsConfig
from orchestai.contracts import Worker, WorkerCatalog, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.errors import EndpointError
from orchestai.workers.breaker import CircuitBreaker, GuardedWorker, OnChange
from orchestai.workers.clients import ClientPool
from orchestai.workers.limited import LimitedWorker
from orchestai.workers.openai_worker import OpenAIWorker
from orchestai.workers.proxy import proxy_for

WorkerFactory = Callable[[WorkerProfile], Worker]


@dataclass(frozen=True)
class LocalEndpoints:
    """Where workers without a `base_url` of their own are found.

    Attributes:
        model: Base URL of the packaged model's server.
        simulator: Base URL of the simulator.
    """

    model: str | None = None
    simulator: str | None = None


class WorkerLayer:
    """Gives out the workers of a catalog by name.

    Args:
        catalog: Who there is.
        endpoints: Servers that we start ourselves; a function is asked at each worker's first use,
            so a server may start late.
        env: Looks up an environment variable (`Settings.env`), for the workers' keys and proxies.
        factory: Makes a worker of a profile; the default talks to the profile's OpenAI-format URL.
        breaker: When a failing worker is left alone; null means never.
        limits: How many calls may wait for a worker with a `max_concurrency`.
        on_breaker: Told of each change of a breaker: the worker's name and the new state.
        passes: Says whether a breaker's probe that was answered passes; gives the worker's name first.
    """

    def __init__(
        self,
        catalog: WorkerCatalog,
        *,
        endpoints: LocalEndpoints | Callable[[], LocalEndpoints] | None = None,
        env: Callable[[str], str | None] | None = None,
        factory: WorkerFactory | None = None,
        breaker: BreakerConfig | None = None,
        limits: LimitsConfig | None = None,
        on_breaker: OnChange | None = None,
        passes: Callable[[str, WorkerRequest, WorkerOutput, float], bool] | None = None,
    ) -> None:
        self._catalog = catalog
        self._passes = passes
        self._endpoints = endpoints or LocalEndpoints()
        self._env = env or (lambda _name: None)
        self._factory = factory or self.openai_worker
        self._clients = ClientPool()
        self._workers: dict[str, Worker] = {}
        self._limits = limits or LimitsConfig()
        self._breakers: dict[str, CircuitBreaker] = {}
        if breaker is not None and breaker.enabled:
            self._breakers = {name: CircuitBreaker(name, breaker, on_change=on_breaker) for name in catalog.names}

    @property
    def breakers(self) -> Mapping[str, CircuitBreaker]:
        """The breakers by worker, to look at; empty if there are none."""
        return self._breakers

    @property
    def catalog(self) -> WorkerCatalog:
        """The profiles behind the workers."""
        return self._catalog

    def __getitem__(self, name: str) -> Worker:
        """Return the worker called `name`, made on first use.

        Raises:
            InputError: The catalog has none of that name.
            EndpointError: It needs a local server that is not running.
        """
        worker = self._workers.get(name)
        if worker is None:
            profile = self._catalog[name]
            worker = self._factory(profile)
            if name in self._breakers:
                passes = partial(self._passes, name) if self._passes is not None else None
                worker = GuardedWorker(worker, self._breakers[name], passes=passes)
            if profile.max_concurrency is not None:
                worker = LimitedWorker(worker, profile.max_concurrency, max_waiting=self._limits.max_waiting)
            self._workers[name] = worker
        return worker

    def openai_worker(self, profile: WorkerProfile) -> OpenAIWorker:
        """Make the default kind of worker; a factory of the caller's may fall back to it.

        Raises:
            EndpointError: The profile needs a local server that is not running.
        """
        base_url = self._base_url(profile)
        # Our own servers ask for no key, and the user's is not theirs to see.
        key = self._env(profile.api_key_env) if profile.api_key_env and profile.base_url else None
        return OpenAIWorker(
            profile,
            base_url=base_url,
            api_key=SecretStr(key) if key else None,
            clients=self._clients,
            proxy=proxy_for(base_url, self._env),
        )

    async def aclose(self) -> None:
        """Close all workers and connections; the layer can be used again afterwards."""
        workers = list(self._workers.values())
        self._workers.clear()
        for worker in workers:
            await worker.aclose()
        await self._clients.aclose()

    async def __aenter__(self) -> WorkerLayer:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    def _base_url(self, profile: WorkerProfile) -> str:
        if profile.base_url:
            return profile.base_url
        endpoints = self._endpoints if isinstance(self._endpoints, LocalEndpoints) else self._endpoints()
        url = endpoints.simulator if profile.simulated else endpoints.model
        if url is None:
            server = "simulator" if profile.simulated else "packaged model's server"
            raise EndpointError(
                f"Worker {profile.name!r} has no `base_url`, and the {server} is not running.",
                remedy="Start it with `orchestai up`, or give the worker a `base_url`.",
            )
        return url
