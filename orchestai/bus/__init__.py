"""How components talk: request and response, a durable queue, events. Everything travels as a `Message`."""

from __future__ import annotations

from orchestai.bus.bus import MessageBus
from orchestai.bus.consumer import consume
from orchestai.bus.events import Events, Subscription
from orchestai.bus.queue import DeadLetter, DurableQueue, Lease
from orchestai.bus.requests import Received, Requests

__all__ = [
    "DeadLetter",
    "DurableQueue",
    "Events",
    "Lease",
    "MessageBus",
    "Received",
    "Requests",
    "Subscription",
    "consume",
]
