from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from orchestai.contracts import Budget, Message, MessageBudget, MessagePayload

DOCUMENTED = {
    "message_id": "8f3f5c1e-0f0e-4b58-9a3b-0d1c2f3a4b5c",
    "timestamp": "2025-11-10T10:30:00Z",
    "from": "orchestrator",
    "to": "coder-arm",
    "message_type": "task_request",
    "payload": {
        "task_id": "task-12345",
        "action": "generate_function",
        "context": {},
        "constraints": [],
        "budget": {"max_tokens": 4000, "max_time_seconds": 30},
    },
    "trace_id": "trace-uuid",
    "parent_message_id": "parent-uuid",
}


@pytest.mark.parametrize("form", [DOCUMENTED, json.dumps(DOCUMENTED), json.dumps(DOCUMENTED).encode()])
def test_the_documented_message_is_read(form: dict[str, object] | str | bytes) -> None:
    message = Message.from_wire(form)
    assert (message.sender, message.to, message.payload.budget.max_tokens) == ("orchestrator", "coder-arm", 4000)
    assert message.timestamp == datetime(2025, 11, 10, 10, 30, tzinfo=UTC)
    wire = message.to_wire()
    assert {key: wire[key] for key in DOCUMENTED if key != "payload"} == {
        key: value for key, value in DOCUMENTED.items() if key != "payload"
    }
    assert DOCUMENTED["payload"].items() <= (wire["payload"] | {"budget": DOCUMENTED["payload"]["budget"]}).items()
    assert Message.from_wire(json.dumps(wire)) == message


def test_identity_time_and_trace_are_made() -> None:
    one, two = (Message(sender="a", to="b") for _ in range(2))
    assert one.message_id != two.message_id
    assert one.trace_id != two.trace_id
    assert one.timestamp.tzinfo is UTC
    assert abs(datetime.now(UTC) - one.timestamp) < timedelta(seconds=5)


def test_times_are_utc_and_never_without_a_zone() -> None:
    there = datetime(2025, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert Message(sender="a", to="b", timestamp=there).to_wire()["timestamp"] == "2025-01-01T10:00:00Z"
    with pytest.raises(ValidationError):
        Message(sender="a", to="b", timestamp=datetime(2025, 1, 1))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize(
    "change", [{"from": ""}, {"message_type": "gossip"}, {"extra": 1}, {"payload": {"budget": {"max_tokens": -1}}}]
)
def test_what_is_no_message_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Message.from_wire(DOCUMENTED | change)


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Message(sender="a", to="b").to = "c"  # type: ignore[misc]


def test_the_hash_is_of_the_content_and_not_of_its_order() -> None:
    one = MessagePayload(context={"a": 1, "b": 2}, capabilities=frozenset({"x", "y", "z"}))
    two = MessagePayload(context={"b": 2, "a": 1}, capabilities=frozenset({"z", "y", "x"}))
    assert one.content_sha256 == two.content_sha256
    assert one.content_sha256 != MessagePayload(context={"a": 1, "b": 3}).content_sha256


def test_the_budget_of_an_instruction_becomes_that_of_a_message() -> None:
    assert MessageBudget.of(Budget(usd=0.5, tokens=10, seconds=3)) == MessageBudget(
        max_usd=0.5, max_tokens=10, max_time_seconds=3
    )
