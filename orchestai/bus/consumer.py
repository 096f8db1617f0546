"""Works on a receiver's messages until it is cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from orchestai.bus.queue import DurableQueue, Lease
from orchestai.contracts import Message
from orchestai.errors import InputError, LeaseLostError, MessageError, OrchestAIError

Handle = Callable[[Lease], Awaitable[Iterable[Message] | None]]

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0


async def consume(
    queue: DurableQueue,
    to: str,
    handle: Handle,
    *,
    parallel: int = 1,
    in_order: bool = False,
    pause_s: float = _FIRST_PAUSE_S,
) -> None:
    """Hand each message to `handle`; to be run as a task and cancelled at the end.

    What `handle` returns is sent in the same transaction that ends the message. If it raises, the message comes
    again after a pause that doubles each time; an `InputError` buries it, because another try cannot help. It may
    take as long as the message's `max_time_seconds` say; while it works the lease is extended. On cancellation the
    message goes back untouched.

    Args:
        queue: Where from.
        to: The receiver.
        handle: Deals with one message; it may be given the same one twice.
        parallel: Messages at a time.
        in_order: One at a time and in order, also under failures.
        pause_s: Pause after the first failure.

    Raises:
        MessageError: `in_order` and `parallel` contradict each other.
        StorageError: The queue cannot be read or written.
    """
    if parallel < 1 or (in_order and parallel > 1):
        raise MessageError(f"`parallel` must be 1{' with in_order' if in_order else ' or more'}, got {parallel}.")
    async with asyncio.TaskGroup() as group:
        for _ in range(parallel):
            group.create_task(_consume(queue, to, handle, in_order, pause_s))


async def _consume(queue: DurableQueue, to: str, handle: Handle, in_order: bool, pause_s: float) -> None:
    while True:
        lease = await queue.lease(to, in_order=in_order)
        if lease is not None:
            try:
                await _deal_with(queue, lease, handle, pause_s)
            except LeaseLostError as error:
                _log.warning("%s", error)


async def _deal_with(queue: DurableQueue, lease: Lease, handle: Handle, pause_s: float) -> None:
    seconds = lease.message.payload.budget.max_time_seconds
    try:
        async with asyncio.timeout(seconds) as limit:
            following = await _while_extended(queue, lease, handle)
        await queue.ack(lease, then=following or ())
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and not task.cancelling():  # `handle` cancelled itself: that is its failure, not our end
            await _refuse(queue, lease, "cancelled: the handler gave up", pause_s, bury=False)
            return
        with suppress(OrchestAIError):
            await asyncio.shield(queue.release(lease))
        raise
    except LeaseLostError:
        raise
    except TimeoutError as error:
        reason = f"deadline_exceeded: its {seconds:g} s are over" if limit.expired() else f"TimeoutError: {error}"
        await _refuse(queue, lease, reason, pause_s, bury=False)
    except OrchestAIError as error:
        await _refuse(queue, lease, f"{error.code}: {error}", pause_s, bury=isinstance(error, InputError))
    except Exception as error:
        _log.exception("the message %s could not be dealt with", lease.message.message_id)
        await _refuse(queue, lease, f"{type(error).__name__}: {error}", pause_s, bury=False)


async def _refuse(queue: DurableQueue, lease: Lease, reason: str, pause_s: float, *, bury: bool) -> None:
    delay_s = min(pause_s * 2 ** (lease.attempt - 1), _LONGEST_PAUSE_S)
    if await queue.nack(lease, reason, delay_s=delay_s, bury=bury):
        _log.error("the message %s is a dead letter: %s", lease.message.message_id, reason)


async def _while_extended(queue: DurableQueue, lease: Lease, handle: Handle) -> Iterable[Message] | None:
    """Run `handle` and hold its message; it is cancelled if the message is lost."""
    work = asyncio.ensure_future(handle(lease))
    hold = asyncio.create_task(_hold(queue, lease))
    try:
        await asyncio.wait([work, hold], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            await hold  # raises why it ended
        return await work
    finally:
        for task in (work, hold):
            task.cancel()
        await asyncio.gather(work, hold, return_exceptions=True)


async def _hold(queue: DurableQueue, lease: Lease) -> None:
    while True:
        await asyncio.sleep(queue.visibility_s / 3)
        await queue.extend(lease)
