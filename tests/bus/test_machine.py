"""Any sequence of operations, restarts and passing time, against a model of a few lines."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from orchestai.bus import DurableQueue, Lease
from orchestai.errors import LeaseLostError, MessageError
from tests.bus.messages import Clock, message

VISIBILITY_S = 10.0
MAX_ATTEMPTS = 2


@dataclass
class Expected:
    """What the model knows of one message."""

    name: str
    to: str
    state: str = "ready"
    attempts: int = 0
    due: float = 0.0
    holder: str = ""


class QueueMachine(RuleBasedStateMachine):
    """Keeps a list in order of acceptance and says what the queue must answer."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._folder = tempfile.TemporaryDirectory()
        self._clock = Clock()
        self._model: list[Expected] = []
        self._queue = self._open()

    def teardown(self) -> None:
        self._loop.run_until_complete(self._queue.aclose())
        self._loop.close()
        self._folder.cleanup()

    @rule(to=st.sampled_from("ab"))
    def enqueue(self, to: str) -> None:
        name = f"m{len(self._model)}"
        assert self._run(self._queue.enqueue(message(to, message_id=name)))
        self._model.append(Expected(name, to))

    @rule(target=leases, to=st.sampled_from("ab"), in_order=st.booleans())
    def lease(self, to: str, in_order: bool) -> object:
        lease = self._run(self._queue.lease(to, wait_s=0, in_order=in_order))
        now = self._clock.now
        for one in self._model:
            if one.to == to and one.state == "leased" and one.due <= now:
                one.state, one.due, one.holder = ("dead" if one.attempts >= MAX_ATTEMPTS else "ready"), 0.0, ""
        open_ = [one for one in self._model if one.to == to and one.state in ("ready", "leased")]
        candidates = open_[:1] if in_order else open_
        expected = next((one for one in candidates if one.state == "ready" and one.due <= now), None)
        if expected is None:
            assert lease is None
            return multiple()
        assert lease is not None
        assert lease.message.message_id == expected.name
        expected.attempts += 1
        assert lease.attempt == expected.attempts
        expected.state, expected.due, expected.holder = "leased", now + VISIBILITY_S, lease._token
        return lease

    @rule(lease=consumes(leases))
    def ack(self, lease: Lease) -> None:
        if self._holds(lease):
            self._run(self._queue.ack(lease))
            self._of(lease).state = "done"
        else:
            with pytest.raises(LeaseLostError):
                self._run(self._queue.ack(lease))

    @rule(lease=consumes(leases), delay_s=st.sampled_from([0.0, 5.0]), bury=st.booleans())
    def nack(self, lease: Lease, delay_s: float, bury: bool) -> None:
        if not self._holds(lease):
            with pytest.raises(LeaseLostError):
                self._run(self._queue.nack(lease, "no", delay_s=delay_s, bury=bury))
            return
        one = self._of(lease)
        dead = bury or one.attempts >= MAX_ATTEMPTS
        assert self._run(self._queue.nack(lease, "no", delay_s=delay_s, bury=bury)) is dead
        one.state, one.holder = ("dead" if dead else "ready"), ""
        one.due = self._clock.now + delay_s if delay_s else 0.0

    @rule(lease=consumes(leases))
    def release(self, lease: Lease) -> None:
        if self._holds(lease):
            self._run(self._queue.release(lease))
            one = self._of(lease)
            one.state, one.holder, one.due = "ready", "", 0.0
            one.attempts -= 1
        else:
            with pytest.raises(LeaseLostError):
                self._run(self._queue.release(lease))

    @rule(lease=leases)
    def extend(self, lease: Lease) -> None:
        if self._holds(lease):
            self._run(self._queue.extend(lease))
            self._of(lease).due = self._clock.now + VISIBILITY_S
        else:
            with pytest.raises(LeaseLostError):
                self._run(self._queue.extend(lease))

    @rule(which=st.integers(0, 5), revive=st.booleans())
    def treat_dead(self, which: int, revive: bool) -> None:
        if which >= len(self._model):
            return
        one = self._model[which]
        call = self._queue.revive if revive else self._queue.discard
        if one.state == "dead":
            self._run(call(one.name))
            one.state, one.attempts, one.due = ("ready", 0, 0.0) if revive else ("done", one.attempts, 0.0)
        else:
            with pytest.raises(MessageError):
                self._run(call(one.name))

    @rule(seconds=st.sampled_from([1.0, 5.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self._clock.now += seconds

    @rule()
    def restart(self) -> None:
        self._run(self._queue.aclose())
        self._queue = self._open()

    @invariant()
    def counts_agree(self) -> None:
        expected = Counter((one.to, one.state) for one in self._model if one.state != "done")
        assert {(one.to, one.state): one.messages for one in self._queue.depths()} == expected

    def _open(self) -> DurableQueue:
        path = Path(self._folder.name) / "q.sqlite"
        return DurableQueue(
            path, visibility_s=VISIBILITY_S, max_attempts=MAX_ATTEMPTS, clock=self._clock, wall=self._clock
        )

    def _run(self, coroutine: object) -> object:
        return self._loop.run_until_complete(coroutine)  # type: ignore[arg-type]

    def _of(self, lease: Lease) -> Expected:
        return next(one for one in self._model if one.name == lease.message.message_id)

    def _holds(self, lease: Lease) -> bool:
        one = self._of(lease)
        return one.state == "leased" and one.holder == lease._token


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
