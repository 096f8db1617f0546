"""Who may call a worker next: limits for each worker and each tenant, a bounded queue, and turns between tenants."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Mapping
from types import TracebackType
from weakref import WeakKeyDictionary

from orchestai.config import LimitsConfig
from orchestai.contracts import WorkerCatalog
from orchestai.errors import OverloadedError

_SMOOTHING = 0.2


class TenantLimiter:
    """Hands out slots.

    A worker has as many slots as it takes calls at a time, a tenant as many as `per_tenant`. Whoever finds none
    free waits: first come, first served among the calls of one tenant, and turn by turn between the tenants
    that wait for the same worker, however many calls each of them has. A tenant that has used up its own slots
    is passed over, not waited for. Each event loop has slots of its own.

    Args:
        capacities: Calls that a worker takes at a time, by name; null, or a worker that is missing, means no limit.
        config: Limits for the tenants.
    """

    def __init__(self, capacities: Mapping[str, int | None], config: LimitsConfig | None = None) -> None:
        self._capacities = dict(capacities)
        self._config = config or LimitsConfig()
        self._halls: WeakKeyDictionary[asyncio.AbstractEventLoop, _Hall] = WeakKeyDictionary()
        self._latest: tuple[weakref.ref[asyncio.AbstractEventLoop], _Hall] | None = None

    @classmethod
    def for_catalog(cls, catalog: WorkerCatalog, config: LimitsConfig | None = None) -> TenantLimiter:
        """Return a limiter with the `max_concurrency` of each worker of `catalog`."""
        return cls({profile.name: profile.max_concurrency for profile in catalog.profiles()}, config)

    def slot(self, tenant: str, worker: str) -> Slot:
        """Return an async context manager that holds one slot of `worker` for `tenant`.

        Entering it raises `OverloadedError` where too many calls of the tenant wait already. Time limits are the
        caller's: `asyncio.timeout` around the entry ends the waiting.
        """
        return Slot(self._hall(), tenant, worker)

    def waiting(self, worker: str) -> int:
        """Return how many calls wait for `worker` in this event loop."""
        return self._hall().waiting(worker)

    def running(self, worker: str) -> int:
        """Return how many calls of `worker` hold a slot in this event loop."""
        return self._hall().running.get(worker, 0)

    def _hall(self) -> _Hall:
        loop = asyncio.get_running_loop()
        if self._latest is not None and self._latest[0]() is loop:  # a weak dictionary is slow to ask
            return self._latest[1]
        hall = self._halls.get(loop)
        if hall is None:
            hall = self._halls[loop] = _Hall(self._capacities, self._config)
        self._latest = (weakref.ref(loop), hall)
        return hall


class Slot:
    """One slot, held while the block runs."""

    __slots__ = ("_hall", "_since", "_tenant", "_worker")

    def __init__(self, hall: _Hall, tenant: str, worker: str) -> None:
        self._hall = hall
        self._tenant = tenant
        self._worker = worker
        self._since = 0.0

    def take(self) -> bool:
        """Take the slot if it is free, without waiting; `give_back` must follow then."""
        if not self._hall.take(self._tenant, self._worker):
            return False
        self._since = time.monotonic()
        return True

    def give_back(self) -> None:
        """Give the slot back."""
        self._hall.give_back(self._tenant, self._worker, time.monotonic() - self._since)

    async def __aenter__(self) -> None:
        if not self.take():
            await self._hall.wait(self._tenant, self._worker)
            self._since = time.monotonic()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()


Queue = deque[asyncio.Future[None]]


class _Hall:
    """Slots and queues of one event loop; no method but `wait` awaits anything."""

    def __init__(self, capacities: Mapping[str, int | None], config: LimitsConfig) -> None:
        self._capacities = capacities
        self._per_tenant = config.per_tenant
        self._max_waiting = config.max_waiting
        self.running: dict[str, int] = {}
        self._held: dict[str, int] = {}
        # By worker, the tenants that wait, in the order of their turns; no queue is empty.
        self._queues: dict[str, OrderedDict[str, Queue]] = {}
        self._hold_s: dict[str, float] = {}

    def waiting(self, worker: str) -> int:
        turns = self._queues.get(worker)
        return sum(len(queue) for queue in turns.values()) if turns else 0

    def take(self, tenant: str, worker: str) -> bool:
        """Take a slot at once, if one is free."""
        # While both are free, whoever waits here is of a tenant that has used up its own slots: passing it is fair.
        if not (self._worker_free(worker) and self._tenant_free(tenant)):
            return False
        self._count(tenant, worker, 1)
        return True

    async def wait(self, tenant: str, worker: str) -> None:
        """Wait for a slot.

        Raises:
            OverloadedError: Too many calls of this tenant wait already.
        """
        turns = self._queues.setdefault(worker, OrderedDict())
        queue = turns.get(tenant)
        length = len(queue) if queue is not None else 0
        if length >= self._max_waiting:
            self._forget_if_empty(worker)
            raise OverloadedError(worker=worker, waiting=length, retry_after_s=self._expected_s(worker))
        if queue is None:
            queue = turns[tenant] = deque()
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.give_back(tenant, worker, None)  # the slot came at the moment of the cancellation
            else:
                self._leave(tenant, worker, mine)
            raise

    def give_back(self, tenant: str, worker: str, held_s: float | None) -> None:
        """Free a slot and let in whoever can use it."""
        self._count(tenant, worker, -1)
        if held_s is not None:
            before = self._hold_s.get(worker, held_s)
            self._hold_s[worker] = before + _SMOOTHING * (held_s - before)
        self._let_in(worker)
        if self._per_tenant is not None:
            for other, turns in list(self._queues.items()):
                if tenant in turns:
                    self._let_in(other)

    def _let_in(self, worker: str) -> None:
        turns = self._queues.get(worker)
        while turns and self._worker_free(worker):
            tenant = next((tenant for tenant in turns if self._tenant_free(tenant)), None)
            if tenant is None:
                return
            queue = turns[tenant]
            first = queue.popleft()
            if not queue:
                del turns[tenant]
            if first.done():  # cancelled: it leaves the queue itself, but only when its task runs again
                continue
            if queue:
                turns.move_to_end(tenant)
            self._count(tenant, worker, 1)
            first.set_result(None)
        self._forget_if_empty(worker)

    def _leave(self, tenant: str, worker: str, mine: asyncio.Future[None]) -> None:
        turns = self._queues.get(worker)
        queue = turns.get(tenant) if turns else None
        if turns is None or queue is None or mine not in queue:
            return
        queue.remove(mine)
        if not queue:
            del turns[tenant]
            self._forget_if_empty(worker)

    def _forget_if_empty(self, worker: str) -> None:
        if worker in self._queues and not self._queues[worker]:
            del self._queues[worker]

    def _worker_free(self, worker: str) -> bool:
        capacity = self._capacities.get(worker)
        return capacity is None or self.running.get(worker, 0) < capacity

    def _tenant_free(self, tenant: str) -> bool:
        return self._per_tenant is None or self._held.get(tenant, 0) < self._per_tenant

    def _count(self, tenant: str, worker: str, change: int) -> None:
        for counts, key in ((self.running, worker), (self._held, tenant)):
            count = counts.get(key, 0) + change
            if count:
                counts[key] = count
            else:
                del counts[key]

    def _expected_s(self, worker: str) -> float | None:
        """Guess when the queue will have moved by one turn of everybody who waits now."""
        hold_s, capacity = self._hold_s.get(worker), self._capacities.get(worker)
        if hold_s is None or capacity is None:
            return None
        return hold_s * max(self.waiting(worker), 1) / capacity
