from __future__ import annotations

import json
import math
import statistics
from typing import Any

import jsonschema
import pytest

from orchestai.contracts import SimulationProfile, WorkerProfile
from orchestai.errors import InputError
from orchestai.simulator import SimulatedCall, SimulatedModel, SimulatedReply

BOOK = {"What is the capital of France?": "Paris"}


def profile(**simulation: Any) -> WorkerProfile:
    return WorkerProfile(name="sim", description="d", model="sim-1", simulation=SimulationProfile(**simulation))


def model(seed: int = 7, **simulation: Any) -> SimulatedModel:
    return SimulatedModel(profile(**simulation), seed, BOOK)


def call(prompt: str = "Q: What is the capital of France?", **more: Any) -> SimulatedCall:
    return SimulatedCall(task_type=more.pop("task_type", "question_answering"), prompt=prompt, **more)


def test_equal_seeds_give_equal_histories() -> None:
    first, second, other = model(), model(), model(seed=8)
    history = [first.reply(call()) for _ in range(5)]
    assert history == [second.reply(call()) for _ in range(5)]
    assert history != [other.reply(call()) for _ in range(5)]
    assert len({reply.latency_ms for reply in history}) == 5, "each attempt is drawn anew"


def test_the_order_of_other_calls_does_not_matter() -> None:
    first, second = model(), model()
    second.reply(call("Something else"))
    assert first.reply(call()) == second.reply(call())


@pytest.mark.parametrize("quality", [0.0, 0.3, 1.0])
def test_answers_are_right_as_often_as_the_profile_says(quality: float) -> None:
    sut = model(quality={"question_answering": quality, "default": 1 - quality})
    right = sum(sut.reply(call()).text == "Paris" for _ in range(1000)) / 1000
    # Three standard errors of a share among 1,000 draws.
    assert abs(right - quality) <= 3 * math.sqrt(quality * (1 - quality) / 1000)


def test_wrong_answers_miss_the_reference() -> None:
    sut = model(quality={"default": 0.0})
    assert all("paris" not in sut.reply(call()).text.casefold() for _ in range(50))


def test_faults_come_as_often_as_the_profile_says() -> None:
    sut = model(error_rate=0.2, rate_limit_rate=0.1)
    faults = [reply.fault for reply in (sut.reply(call()) for _ in range(2000)) if reply.fault]
    by_status = {status: sum(fault.status == status for fault in faults) for status in (500, 429)}
    assert by_status[500] == pytest.approx(400, abs=3 * math.sqrt(2000 * 0.2 * 0.8))
    assert by_status[429] == pytest.approx(200, abs=3 * math.sqrt(2000 * 0.1 * 0.9))
    assert all((fault.retry_after_s is not None) == (fault.status == 429) for fault in faults)


def test_latency_is_log_normal_around_its_median() -> None:
    sut = model(latency_ms=100, latency_sigma=0.5)
    logs = [math.log(sut.reply(call()).latency_ms) for _ in range(2000)]
    assert statistics.mean(logs) == pytest.approx(math.log(100), abs=3 * 0.5 / math.sqrt(2000))
    assert statistics.stdev(logs) == pytest.approx(0.5, rel=0.06)


def test_confidence_is_higher_for_right_answers() -> None:
    sut = model(quality={"default": 0.5})
    replies = [sut.reply(call()) for _ in range(300)]
    right = [reply.confidence for reply in replies if reply.text == "Paris"]
    wrong = [reply.confidence for reply in replies if reply.text != "Paris"]
    assert statistics.mean(right) - statistics.mean(wrong) == pytest.approx(0.2, abs=0.05)
    assert max(wrong) > min(right), "it must not give the truth away"


def test_tokens_count_what_was_sent_and_said() -> None:
    sut = model(quality={"default": 1.0})
    reply = sut.reply(call(system="abcd", images=2, audio_bytes=3201))
    # 4 + 33 characters make 10 tokens, an image 85, 3,201 bytes of sound 2; "Paris" has 5 characters.
    assert len(call().prompt) == 33
    assert reply.input_tokens == 10 + 2 * 85 + 2
    assert reply.output_tokens == 2


def test_a_long_answer_is_cut() -> None:
    sut = SimulatedModel(profile(quality={"default": 1.0}), 7, {"Tell": "x" * 100})
    reply = sut.reply(call("Tell", max_tokens=5))
    assert (reply.text, reply.output_tokens, reply.finish_reason) == ("x" * 20, 5, "length")


@pytest.mark.parametrize(
    ("task_type", "prompt", "expected"),
    [
        ("text_extraction", "Write to ann@example.com before 12:30, says Bob.", "ann@example.com"),
        ("classification", "Is it positive or not? I hate it.", "positive"),
        ("reasoning", "Add 2 and 3.5 please", "5.5"),
        ("summarization", "Short. This sentence is the longest of them all. End.", "the longest"),
        ("code_generation", "Sort the invoices", "def sort_invoices_step"),
        ("audio_transcription", "The recording about invoices", "invoices"),
        ("an_imported_tool", "First thing. Second thing.", "First thing."),
        ("summarization", "???", "Nothing to work on."),
    ],
)
def test_unknown_instructions_get_answers_of_their_own_words(task_type: str, prompt: str, expected: str) -> None:
    assert expected in model().reply(call(prompt, task_type=task_type)).text


def test_a_worker_that_is_not_simulated_is_refused() -> None:
    with pytest.raises(InputError, match="no simulation profile"):
        SimulatedModel(WorkerProfile(name="w", description="d", model="m"))


SCHEMAS: list[dict[str, Any]] = [
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 3},
            "code": {"type": "string", "pattern": "^[A-Z]{2}-\\d+$"},
            "size": {"type": "integer", "minimum": 3, "maximum": 5},
            "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            "ok": {"type": "boolean"},
            "none": {"type": "null"},
            "maybe": {"anyOf": [{"type": "null"}, {"type": "integer", "multipleOf": 7, "minimum": 1}]},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 4, "maxItems": 4},
            "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"const": "x"}]},
            "many": {"type": ["string", "null"]},
        },
        "required": ["name", "code", "size", "share", "ok", "none", "maybe", "tags", "pair", "many"],
        "additionalProperties": False,
    },
    {
        "$defs": {"Leaf": {"type": "object", "properties": {"v": {"type": "integer"}}, "required": ["v"]}},
        "type": "object",
        "properties": {"leaf": {"$ref": "#/$defs/Leaf"}, "both": {"allOf": [{"$ref": "#/$defs/Leaf"}]}},
        "required": ["leaf", "both"],
    },
    {"type": "array", "items": {"type": "string"}, "maxItems": 0},
    {"type": "string", "minLength": 500},
]


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("quality", [0.0, 1.0])
def test_structured_answers_obey_the_schema(schema: dict[str, Any], quality: float) -> None:
    reply = model(quality={"default": quality}).reply(call(json_schema=schema))
    jsonschema.validate(json.loads(reply.text), schema)


def plan_of(instruction: str, schema: dict[str, Any]) -> tuple[Any, SimulatedReply]:
    reply = model().reply(call(f"Types: summarization, translation.\n\n{instruction}", json_schema=schema))
    value = json.loads(reply.text)
    jsonschema.validate(value, schema)
    return value, reply


TYPES = ["text_extraction", "summarization", "translation", "generation", "reasoning"]


def test_plans_are_chains_of_what_the_instruction_mentions() -> None:
    node = {
        "type": "object",
        "properties": {"task_type": {"type": "string", "enum": TYPES}, "description": {"type": "string"}},
        "required": ["task_type", "description"],
    }
    schema = {
        "type": "object",
        "properties": {
            "nodes": {"type": "array", "items": node, "minItems": 1, "maxItems": 20},
            "dependencies": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        },
        "required": ["nodes", "dependencies"],
    }
    plan, _ = plan_of("Summarize the report, then translate it.", schema)
    assert [step["task_type"] for step in plan["nodes"]] == ["summarization", "translation"]
    assert plan["dependencies"] == [[], [0]]
    plan, _ = plan_of("Do something nice.", schema)
    assert [step["task_type"] for step in plan["nodes"]] == ["generation"]
    assert plan["dependencies"] == [[]]


def test_dependencies_inside_the_nodes_are_chains_too() -> None:
    node = {
        "type": "object",
        "properties": {
            "task_type": {"enum": TYPES},
            "depends_on": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["task_type", "depends_on"],
    }
    schema = {
        "type": "object",
        "properties": {"steps": {"type": "array", "items": node}},
        "required": ["steps"],
    }
    plan, _ = plan_of("Extract the names, summarize, translate.", schema)
    assert [step["depends_on"] for step in plan["steps"]] == [[], [0], [1]]
