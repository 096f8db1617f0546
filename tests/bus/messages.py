"""Messages for tests, and clocks that tests turn."""

from __future__ import annotations

from typing import Any

from orchestai.contracts import Message, MessageBudget, MessagePayload

TRACE = "trace-1"


def message(to: str = "coder", text: str = "", *, parent: Message | None = None, **fields: Any) -> Message:
    """Return a message; budget and capabilities go into its payload."""
    payload = MessagePayload(
        action=text,
        budget=fields.pop("budget", None) or MessageBudget(),
        capabilities=frozenset(fields.pop("capabilities", ())),
    )
    given = {
        "sender": parent.to if parent is not None else "orchestrator",
        "to": to,
        "payload": payload,
        "trace_id": TRACE,
        "parent_message_id": parent.message_id if parent is not None else None,
        **fields,
    }
    return Message.model_validate(given)


def budget(tokens: int | None = None, *, seconds: float | None = None, usd: float | None = None) -> MessageBudget:
    return MessageBudget(max_tokens=tokens, max_time_seconds=seconds, max_usd=usd)


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
