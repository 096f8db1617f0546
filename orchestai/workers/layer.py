"""All workers of a catalog, each made when it is first needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import SecretStr

from orchestai.contracts import Worker, WorkerCatalog, WorkerProfile
from orchestai.errors import EndpointError
from orchestai.workers.clients import NO_KEY, ClientPool
from orchestai.workers.limiter import LimitedWorker
from orchestai.workers.openai_worker import OpenAIWorker

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
        env: Looks up an environment variable (`Settings.env`), for the workers' keys.
        factory: Makes a worker of a profile; the default talks to the profile's OpenAI-format URL.
    """

    def __init__(
        self,
        catalog: WorkerCatalog,
        *,
        endpoints: LocalEndpoints | Callable[[], LocalEndpoints] | None = None,
        env: Callable[[str], str | None] | None = None,
        factory: WorkerFactory | None = None,
    ) -> None:
        self._catalog = catalog
        self._endpoints = endpoints or LocalEndpoints()
        self._env = env or (lambda _name: None)
        self._factory = factory or self.openai_worker
        self._clients = ClientPool()
        self._workers: dict[str, Worker] = {}

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
            if profile.max_concurrency is not None:
                worker = LimitedWorker(worker, profile.max_concurrency)
            self._workers[name] = worker
        return worker

    def openai_worker(self, profile: WorkerProfile) -> OpenAIWorker:
        """Make the default kind of worker; a factory of the caller's may fall back to it.

        Raises:
            EndpointError: The profile needs a local server that is not running.
        """
        key = self._env(profile.api_key_env) if profile.api_key_env else None
        if profile.base_url is None:
            key = NO_KEY  # our own servers ask for none, and the user's key is not theirs to see
        return OpenAIWorker(
            profile,
            base_url=self._base_url(profile),
            api_key=SecretStr(key) if key else None,
            clients=self._clients,
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
