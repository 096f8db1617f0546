"""The LLM planner against a real loopback server: what it accepts, sends back and gives up on."""

from __future__ import annotations

import json

import pytest
from pytest_httpserver import HTTPServer

from orchestai.contracts import Instruction
from orchestai.errors import CycleError, PlanError, WorkerUnavailableError
from tests.planner.scripted_llm import Script, proposal

INSTRUCTION = Instruction(
    text="Write a poem, then a title.", inputs={"text": "about rivers"}, constraints=("no rhyme",)
)
GOOD = proposal([[], [0]])


async def test_a_good_plan_is_taken_as_it_is(script: Script) -> None:
    llm, planner = script(
        {
            "nodes": [
                {"task_type": "summarization", "description": "Shorten it"},
                {"task_type": "translation", "description": "Into French"},
                {"task_type": "classification", "description": "Mood"},
            ],
            "dependencies": [[], [0], []],
        }
    )
    graph = await planner.plan_graph(INSTRUCTION)
    assert [node.task_type for node in graph.nodes] == ["summarization", "translation", "classification"]
    assert [node.description for node in graph.nodes] == ["Shorten it", "Into French", "Mood"]
    assert graph.dependencies == ((), (0,), ())
    assert len(llm.requests) == 1


async def test_the_model_is_given_request_catalog_and_schema(script: Script) -> None:
    llm, planner = script(GOOD)
    await planner.plan_graph(INSTRUCTION)
    prompt = llm.prompts[0]
    for part in (
        "Write a poem, then a title.",
        "no rhyme",
        "- audio_transcription:",
        "Supplied with it: text",
    ):
        assert part in prompt
    schema = llm.requests[0]["response_format"]["json_schema"]
    assert schema["strict"] is True
    node = schema["schema"]["properties"]["nodes"]
    assert node["maxItems"] == 20
    assert node["items"]["properties"]["task_type"]["enum"][0] == "text_extraction"
    assert llm.requests[0]["temperature"] == 0


@pytest.mark.parametrize(
    "wrapped",
    [
        "```json\n{}\n```",
        "```\n{}\n```",
        "Here is the plan you asked for:\n\n```json\n{}\n```\nAnything else?",
    ],
)
async def test_a_fence_around_the_plan_is_taken_off(script: Script, wrapped: str) -> None:
    llm, planner = script(wrapped.replace("{}", json.dumps(GOOD, indent=2)))
    assert (await planner.plan_graph(INSTRUCTION)).dependencies == ((), (0,))
    assert len(llm.requests) == 1, "a fence costs no second call"


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ("First write the poem, then the title.", "not valid JSON"),
        (proposal([[1], [0]]), "circle"),
        (proposal([[0]]), "circle"),
        (proposal([[], [7]]), "depends on 7"),
        (proposal([[], [-1]]), "depends on -1"),
        (proposal([[], [0]], task_type="poetry"), "unknown task type 'poetry'"),
        (proposal([[] for _ in range(21)]), "21 sub-tasks; 20 are allowed"),
        ({"nodes": [], "dependencies": []}, "no sub-task"),
        ({"nodes": GOOD["nodes"], "dependencies": [[]]}, "2 sub-tasks but 1 lists"),
        ({"nodes": GOOD["nodes"], "dependencies": [[], ["0"]]}, "holds '0'"),
        ({"nodes": GOOD["nodes"], "dependencies": {"1": [0]}}, '"dependencies" must be a list'),
        ({"nodes": ["generation"], "dependencies": [[]]}, "unknown task type None"),
        ({"steps": 2}, '"nodes" and "dependencies"'),
        ([1, 2], '"nodes" and "dependencies"'),
        ("[" * 100_000, "not valid JSON"),
    ],
)
async def test_an_invalid_plan_is_sent_back_with_its_error(script: Script, bad: object, complaint: str) -> None:
    llm, planner = script(bad, GOOD)
    graph = await planner.plan_graph(INSTRUCTION)
    assert graph.dependencies == ((), (0,))
    assert len(llm.requests) == 2
    repair = llm.prompts[1]
    assert complaint in repair
    assert "This plan is wrong" in repair
    assert "Write a poem, then a title." in repair
    sent_back = bad if isinstance(bad, str) else json.dumps(bad)
    assert sent_back[:60] in repair


async def test_a_dependency_named_twice_counts_once(script: Script) -> None:
    llm, planner = script(proposal([[], [0, 0]]))
    assert (await planner.plan_graph(INSTRUCTION)).dependencies == ((), (0,))
    assert len(llm.requests) == 1


@pytest.mark.parametrize("max_repairs", [0, 2])
async def test_it_gives_up_after_max_repairs(script: Script, max_repairs: int) -> None:
    llm, planner = script(proposal([[1], [0]]), max_repairs=max_repairs)
    with pytest.raises(PlanError, match=f"invalid {max_repairs + 1} times") as caught:
        await planner.plan_graph(INSTRUCTION)
    assert len(llm.requests) == max_repairs + 1
    assert isinstance(caught.value.__cause__, CycleError)
    assert "planner.llm_worker" in str(caught.value)


async def test_a_failing_endpoint_is_no_invalid_plan(script: Script, httpserver: HTTPServer) -> None:
    httpserver.expect_ordered_request("/v1/chat/completions").respond_with_data("down", status=503)
    _, planner = script(GOOD)
    with pytest.raises(WorkerUnavailableError):
        await planner.plan_graph(INSTRUCTION)


async def test_jinja_in_the_request_and_in_the_proposal_stays_text(script: Script) -> None:
    attack = "{{ ''.__class__ }}{% for x in range(9) %}x{% endfor %}"
    llm, planner = script(attack, GOOD)
    await planner.plan_graph(Instruction(text=attack))
    assert attack in llm.prompts[0]
    assert llm.prompts[1].count(attack) == 2
