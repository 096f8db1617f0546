"""Direct channels between arms: declared with the orchestrator, with provenance, and no way to more rights."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from orchestai.contracts import Message, MessageBudget, MessagePayload, MessageProvenance, MessageType
from orchestai.contracts.base import Record
from orchestai.errors import ChannelError

_REMEMBERED = 10_000


class Grant(Record):
    """What an arm may do and use; only the orchestrator gives grants.

    Attributes:
        capabilities: What it may do.
        budget: What it may use, itself and through others.
    """

    capabilities: frozenset[str] = frozenset()
    budget: MessageBudget = MessageBudget()


class Delivery(Record):
    """A message with the rights under which its receiver must act on it; only a `task_request` passes rights on.

    Attributes:
        message: The message.
        grant: What both the message and the receiver's own grant allow. A receiver that may do more must not do
            it for a sender that may not.
    """

    message: Message
    grant: Grant


_NO_RIGHTS = Grant(budget=MessageBudget(max_tokens=0, max_usd=0.0))


class Switchboard:
    """The orchestrator's list of who may talk to whom, and with which rights.

    The orchestrator keeps it; an arm gets the `Channel` objects that are its own. Not thread safe: one event
    loop owns it.
    """

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}
        self._channels: dict[tuple[str, str], Channel] = {}
        self._spent: dict[tuple[str, str], tuple[int, float]] = {}
        self._seen: OrderedDict[str, Message] = OrderedDict()

    def grant(self, arm: str, grant: Grant) -> None:
        """Say what an arm may do and use; what it passed on before still counts."""
        self._grants[arm] = grant

    def open(self, sender: str, receiver: str, *, types: Iterable[MessageType], max_pending: int = 64) -> Channel:
        """Declare a channel in one direction.

        Args:
            sender: Who may send.
            receiver: Who receives.
            types: Kinds of messages that may pass.
            max_pending: Messages that may wait; a sender waits while there are as many.

        Raises:
            ChannelError: One of the two has no grant, they are the same, or the channel is there already.
        """
        for arm in (sender, receiver):
            if arm not in self._grants:
                raise ChannelError(f"The arm {arm!r} has no grant.", remedy="Grant first, then open channels.")
        if sender == receiver:
            raise ChannelError(f"The arm {sender!r} cannot have a channel to itself.")
        if (sender, receiver) in self._channels:
            raise ChannelError(f"The channel {sender!r} -> {receiver!r} is open already.")
        channel = Channel(self, sender, receiver, frozenset(types), max_pending)
        self._channels[sender, receiver] = channel
        return channel

    def close(self, sender: str, receiver: str) -> None:
        """Close a channel: nothing more passes, and who waits at it is told."""
        channel = self._channels.pop((sender, receiver), None)
        if channel is not None:
            channel._shut()

    @property
    def declared(self) -> tuple[tuple[str, str], ...]:
        """All open channels, as (sender, receiver)."""
        return tuple(sorted(self._channels))

    def trace(self, message_id: str) -> tuple[Message, ...]:
        """Return a message and what it follows from, newest first, as far back as is remembered."""
        chain: list[Message] = []
        current = self._seen.get(message_id)
        while current is not None and current not in chain:
            chain.append(current)
            current = self._seen.get(current.parent_message_id or "")
        return tuple(chain)

    def _admit(self, channel: Channel, message: Message) -> Delivery:
        """Check one message and take its budget out of what its sender may pass on."""
        if self._channels.get((channel.sender, channel.receiver)) is not channel:
            raise ChannelError(f"The channel {channel.name} is not open.", remedy="Declare it with the orchestrator.")
        _check_origin(channel, message)
        if message.message_id in self._seen:
            raise ChannelError(f"The message {message.message_id} was sent before.", remedy="Give each its own id.")
        parent = self._parent(channel, message)
        payload = message.payload
        request = message.message_type == "task_request"
        limits = [(("arm", channel.sender), self._grants[channel.sender], "its grant")]
        if parent is not None and parent.to == channel.sender:
            on_behalf = Grant(capabilities=parent.payload.capabilities, budget=parent.payload.budget)
            limits.append(
                (("message", parent.message_id), on_behalf, f"the message {parent.message_id} that it acts on")
            )
        for key, allowed, by in limits:
            _check_rights(channel.sender, payload, allowed, by, request=request)
            self._check_sum(channel.sender, key, payload.budget, allowed.budget, by)
        for key, _, _ in limits:
            tokens, usd = self._spent.get(key, (0, 0.0))
            self._spent[key] = (tokens + (payload.budget.max_tokens or 0), usd + (payload.budget.max_usd or 0.0))
        self._remember(message)
        if not request:
            return Delivery(message=message, grant=_NO_RIGHTS)
        receiver = self._grants[channel.receiver]
        rights = Grant(
            capabilities=payload.capabilities & receiver.capabilities,
            budget=_smaller(payload.budget, receiver.budget),
        )
        return Delivery(message=message, grant=rights)

    def _parent(self, channel: Channel, message: Message) -> Message | None:
        if message.parent_message_id is None:
            return None
        parent = self._seen.get(message.parent_message_id)
        if parent is None or channel.sender not in (parent.sender, parent.to):
            raise ChannelError(
                f"{channel.sender!r} names the parent {message.parent_message_id}, which it neither sent nor received.",
                remedy="Name a message of its own channels, or none.",
            )
        if parent.trace_id != message.trace_id:
            raise ChannelError(
                f"The message belongs to the trace {message.trace_id}, its parent to {parent.trace_id}.",
                remedy="Answer within the trace of the parent.",
            )
        return parent

    def _check_sum(
        self, sender: str, key: tuple[str, str], asked: MessageBudget, granted: MessageBudget, by: str
    ) -> None:
        tokens, usd = self._spent.get(key, (0, 0.0))
        tokens += asked.max_tokens or 0
        usd += asked.max_usd or 0.0
        together = f"{by}, over all that it passed on"
        if granted.max_tokens is not None and tokens > granted.max_tokens:
            raise _too_much(sender, "tokens", tokens, granted.max_tokens, together)
        if granted.max_usd is not None and usd > granted.max_usd + 1e-12:
            raise _too_much(sender, "dollars", usd, granted.max_usd, together)

    def _remember(self, message: Message) -> None:
        self._seen[message.message_id] = message
        while len(self._seen) > _REMEMBERED:
            forgotten, _ = self._seen.popitem(last=False)
            self._spent.pop(("message", forgotten), None)  # nothing can act on a message that is forgotten


class Channel:
    """One direction between two arms; the orchestrator opens it, see `Switchboard.open`."""

    def __init__(
        self, board: Switchboard, sender: str, receiver: str, types: frozenset[MessageType], max_pending: int
    ) -> None:
        self._board = board
        self._queue: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(max_pending)
        self._closed = False
        self.sender = sender
        self.receiver = receiver
        self.types = types

    @property
    def name(self) -> str:
        """Both ends, for people."""
        return f"{self.sender!r} -> {self.receiver!r}"

    async def send(
        self,
        message_type: MessageType,
        payload: MessagePayload,
        *,
        parent: Message | None = None,
        sources: Iterable[str] = (),
        trace_id: str | None = None,
    ) -> Message:
        """Write a message with its provenance and send it; wait while too many are pending.

        Args:
            message_type: Its kind.
            payload: What it says.
            parent: The message that it answers or acts on; also its first source.
            sources: Further messages and artifacts that went into it, by id.
            trace_id: The execution; that of the parent otherwise.

        Raises:
            ChannelError: The channel or the sender's grant does not allow it.
        """
        named = tuple(sources) if parent is None else (parent.message_id, *sources)
        fields: dict[str, object] = {
            "sender": self.sender,
            "to": self.receiver,
            "message_type": message_type,
            "payload": payload,
            "parent_message_id": parent.message_id if parent is not None else None,
            "provenance": MessageProvenance(
                created_by=self.sender, sources=named, content_sha256=payload.content_sha256
            ),
        }
        trace = trace_id or (parent.trace_id if parent is not None else None)
        message = Message.model_validate(fields | ({"trace_id": trace} if trace is not None else {}))
        await self.forward(message)
        return message

    async def forward(self, message: Message) -> None:
        """Send a message that was written elsewhere, for example read from the wire.

        Raises:
            ChannelError: It is forged, or the channel or the sender's grant does not allow it.
        """
        await self._room.acquire()
        try:
            self._queue.put_nowait(self._board._admit(self, message))
        except BaseException:
            self._room.release()
            raise

    async def receive(self) -> Delivery:
        """Return the next message and the rights that go with it.

        Raises:
            ChannelError: The channel is closed and empty.
        """
        delivery = None if self._closed and self._queue.empty() else await self._queue.get()
        if delivery is None:
            self._queue.put_nowait(None)  # for the next one who waits
            raise ChannelError(f"The channel {self.name} is closed.")
        self._room.release()
        return delivery

    def _shut(self) -> None:
        self._closed = True
        self._queue.put_nowait(None)
        self._room.release()  # a sender that waits for room finds the channel closed


def _check_origin(channel: Channel, message: Message) -> None:
    if (message.sender, message.to) != (channel.sender, channel.receiver):
        raise ChannelError(
            f"A message from {message.sender!r} to {message.to!r} came through the channel {channel.name}.",
            remedy="An arm speaks for itself only, through its own channels.",
        )
    if message.message_type not in channel.types:
        raise ChannelError(
            f"The channel {channel.name} does not carry {message.message_type!r}.",
            remedy=f"Declared: {', '.join(sorted(channel.types)) or '(nothing)'}.",
        )
    provenance = message.provenance
    if provenance is None:
        raise ChannelError(f"The message {message.message_id} has no provenance.", remedy="Say who made it of what.")
    if provenance.created_by != message.sender:
        raise ChannelError(
            f"The message of {message.sender!r} says that {provenance.created_by!r} created it.",
            remedy="Name the other's message as a source, and write the payload anew.",
        )
    if provenance.content_sha256 != message.payload.content_sha256:
        raise ChannelError(
            f"The payload of {message.message_id} is not the one that its provenance was written for.",
            remedy="Send it unchanged.",
        )


def _check_rights(sender: str, payload: MessagePayload, allowed: Grant, by: str, *, request: bool) -> None:
    excess = sorted(payload.capabilities - allowed.capabilities)
    if excess:
        raise ChannelError(
            f"{sender!r} cannot pass on {', '.join(excess)}: {by} does not hold it.",
            remedy="Ask the orchestrator to do it, or for a larger grant.",
        )
    for unit, asked, limit in (
        ("tokens", payload.budget.max_tokens, allowed.budget.max_tokens),
        ("seconds", payload.budget.max_time_seconds, allowed.budget.max_time_seconds),
        ("dollars", payload.budget.max_usd, allowed.budget.max_usd),
    ):
        # No number in a request means no limit; in an answer, that nothing is asked for.
        if limit is not None and (asked > limit if asked is not None else request):
            raise _too_much(sender, unit, asked, limit, by)


def _too_much(sender: str, unit: str, asked: float | None, limit: float, by: str) -> ChannelError:
    wanted = f"an unlimited number of {unit}" if asked is None else f"{asked:g} {unit}"
    return ChannelError(
        f"{sender!r} cannot pass on {wanted}: {limit:g} are allowed by {by}.",
        remedy="Pass on less, or ask the orchestrator for a larger grant.",
    )


def _smaller(one: MessageBudget, other: MessageBudget) -> MessageBudget:
    def least(a: float | None, b: float | None) -> float | None:
        return b if a is None else a if b is None else min(a, b)

    fields: Mapping[str, float | None] = {
        name: least(getattr(one, name), getattr(other, name)) for name in MessageBudget.model_fields
    }
    return MessageBudget.model_validate(fields)
