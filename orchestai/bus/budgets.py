"""What a message may pass on: never more than its parent carries, and all its children together no more either."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from orchestai.contracts import Message, MessageBudget, MessagePayload, MessageProvenance, MessageType
from orchestai.errors import DeadlineExceededError, MessageError

_REMEMBERED = 10_000
_ROUNDING = 1e-9


@dataclass
class Purse:
    """What one message carries, and what of it was passed on.

    Attributes:
        trace_id: The message's trace.
        budget: As the message carries it.
        capabilities: What its receiver may do.
        tokens: Passed on so far.
        usd: Passed on so far.
        deadline: When its seconds are over, on the ledger's clock; null means never.
    """

    trace_id: str
    budget: MessageBudget
    capabilities: frozenset[str]
    tokens: int = 0
    usd: float = 0.0
    deadline: float | None = None

    def left(self, now: float) -> MessageBudget:
        """Return what may still be passed on."""
        budget = self.budget
        seconds = budget.max_time_seconds
        if self.deadline is not None:
            seconds = max(self.deadline - now, 1e-3)
        return MessageBudget(
            max_tokens=None if budget.max_tokens is None else max(budget.max_tokens - self.tokens, 0),
            max_time_seconds=seconds,
            max_usd=None if budget.max_usd is None else max(budget.max_usd - self.usd, 0.0),
        )

    def spend(self, message: Message, now: float) -> None:
        """Take a child's budget out of what is left.

        Raises:
            MessageError: The child carries more, or belongs to another trace.
            DeadlineExceededError: The seconds are over.
        """
        if message.trace_id != self.trace_id:
            raise MessageError(
                f"The message belongs to the trace {message.trace_id}, its parent to {self.trace_id}.",
                remedy="Follow up within the trace of the parent.",
            )
        payload = message.payload
        excess = sorted(payload.capabilities - self.capabilities)
        if excess:
            raise MessageError(
                f"{message.sender!r} cannot pass on {', '.join(excess)}: the parent message does not carry it.",
                remedy="Ask the sender of the parent to do it.",
            )
        is_request = message.message_type == "task_request"
        if is_request and self.deadline is not None and self.deadline <= now:
            raise DeadlineExceededError(
                f"The time of the message {message.parent_message_id} is over; nothing can follow from it."
            )
        left = self.left(now)
        for unit, asked, limit in (
            ("tokens", payload.budget.max_tokens, left.max_tokens),
            # Seconds run between writing and sending; the deadline, which is inherited, keeps children short.
            ("seconds", payload.budget.max_time_seconds, self.budget.max_time_seconds),
            ("dollars", payload.budget.max_usd, left.max_usd),
        ):
            # No number in a request means no limit; in an answer, that nothing is asked for.
            if limit is not None and (asked > limit + _ROUNDING if asked is not None else is_request):
                wanted = f"an unlimited number of {unit}" if asked is None else f"{asked:g} {unit}"
                raise MessageError(
                    f"{message.sender!r} cannot pass on {wanted}: {limit:g} are left of the parent message.",
                    remedy="Use `follow_up`, which passes on what is left at most.",
                )
        if is_request:
            self.tokens += payload.budget.max_tokens or 0
            self.usd += payload.budget.max_usd or 0.0

    def refund(self, message: Message) -> None:
        """Take `spend` back."""
        if message.message_type == "task_request":
            self.tokens -= message.payload.budget.max_tokens or 0
            self.usd -= message.payload.budget.max_usd or 0.0


class Budgets:
    """The purses of messages that were delivered in this process. Not thread safe: one event loop owns it.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._purses: OrderedDict[str, Purse] = OrderedDict()

    def remember(self, message: Message) -> float | None:
        """Open the purse of a message that is delivered now; its seconds begin to run.

        Returns:
            Its deadline on the ledger's clock: its own, or that of its parent if that comes first.
        """
        budget = message.payload.budget
        parent = self._purses.get(message.parent_message_id or "")
        deadline = parent.deadline if parent is not None else None
        if budget.max_time_seconds is not None:
            own = self._clock() + budget.max_time_seconds
            deadline = own if deadline is None else min(own, deadline)
        self._purses[message.message_id] = Purse(
            message.trace_id, budget, message.payload.capabilities, deadline=deadline
        )
        if len(self._purses) > _REMEMBERED:
            self._purses.popitem(last=False)
        return deadline

    def spend(self, message: Message) -> bool:
        """Take a message's budget out of its parent's purse; say whether that purse is here.

        Raises:
            MessageError: The message carries more than is left.
            DeadlineExceededError: The parent's seconds are over.
        """
        purse = self._purses.get(message.parent_message_id or "")
        if purse is None:
            return False
        purse.spend(message, self._clock())
        return True

    def refund(self, message: Message) -> None:
        """Take `spend` back, because the message was not sent after all."""
        purse = self._purses.get(message.parent_message_id or "")
        if purse is not None:
            purse.refund(message)

    def left(self, message_id: str) -> MessageBudget | None:
        """Return what a message may still pass on; null if it is not known here."""
        purse = self._purses.get(message_id)
        return purse.left(self._clock()) if purse is not None else None


def follow_up(
    parent: Message,
    to: str,
    payload: MessagePayload,
    *,
    left: MessageBudget,
    message_type: MessageType = "task_request",
    key: str | None = None,
) -> Message:
    """Write a message that follows from another, and carries what is left of it at most.

    Args:
        parent: What it follows from; its receiver is the sender.
        to: Who is to receive it.
        payload: What it says; a larger budget is cut down, capabilities that the parent lacks are left out.
        left: What the parent may still pass on.
        message_type: Its kind.
        key: Names this step of the parent's work: the same step of a second attempt gets the same id, so that the
            queue takes it once.
    """
    if message_type == "task_request":
        payload = payload.model_copy(
            update={
                "budget": smaller(payload.budget, left),
                "capabilities": payload.capabilities & parent.payload.capabilities,
            }
        )
    fields: dict[str, object] = {
        "sender": parent.to,
        "to": to,
        "message_type": message_type,
        "payload": payload,
        "trace_id": parent.trace_id,
        "parent_message_id": parent.message_id,
        "provenance": MessageProvenance(
            created_by=parent.to, sources=(parent.message_id,), content_sha256=payload.content_sha256
        ),
    }
    if key is not None:
        fields["message_id"] = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{parent.message_id}/{to}/{key}"))
    return Message.model_validate(fields)


def smaller(one: MessageBudget, other: MessageBudget) -> MessageBudget:
    """Return the smaller of each number; null is larger than any."""

    def least(first: float | None, second: float | None) -> float | None:
        return second if first is None else first if second is None else min(first, second)

    return MessageBudget.model_validate(
        {name: least(getattr(one, name), getattr(other, name)) for name in MessageBudget.model_fields}
    )


def unknown_parent(message: Message) -> MessageError:
    """Say that nobody can tell what a message may carry."""
    return MessageError(
        f"The message {message.message_id} follows from {message.parent_message_id}, which this bus does not know.",
        remedy="Send it while its parent is being worked on, or without a parent as a request of its own.",
    )
