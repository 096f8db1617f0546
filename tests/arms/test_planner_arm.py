from __future__ import annotations

import json

import pytest

from orchestai.arms.planner import PlannerArm
from orchestai.config import Settings, load_project
from orchestai.contracts import Assignment, Instruction, Plan, PlanPrediction, Subtask, WorkerRequest, WorkflowGraph
from orchestai.errors import WorkerRequestError
from orchestai.planner.rules import RulesPlanner

REQUEST = WorkerRequest(task_type="reasoning", prompt="Summarize the text and translate the summary into French.")


async def test_a_predictor_becomes_an_arm() -> None:
    rules = RulesPlanner(load_project(settings=Settings.from_mapping({})).tasks)
    output = await PlannerArm(rules).run(REQUEST)
    predicted = rules.predict([REQUEST.prompt])[0]
    plan = json.loads(output.content)
    assert [s["task_type"] for s in plan["subtasks"]] == list(predicted.task_types) == ["summarization", "translation"]
    assert [s["depends_on"] for s in plan["subtasks"]] == [[], [0]]
    assert output.metadata["confidence"] == predicted.confidence


async def test_a_predictor_reads_the_marks_of_the_inputs() -> None:
    seen: list[str] = []

    class Recorder:
        def predict(self, instructions):
            seen.extend(instructions)
            return [PlanPrediction(task_types=("image_analysis",), dependencies=((),), confidence=0.5)]

    await PlannerArm(Recorder()).run(REQUEST.model_copy(update={"inputs": {"image": "x.png"}}))
    assert seen == [f"{REQUEST.prompt}\n[image]"]


@pytest.mark.parametrize("later", [False, True])
async def test_a_function_becomes_an_arm(later: bool) -> None:
    def plan(instruction: Instruction) -> Plan:
        graph = WorkflowGraph.chain((Subtask(task_type="generation", description=instruction.text),))
        return Plan(graph=graph, assignments=(Assignment(worker="w"),), planner="given", confidence=1.0)

    async def plan_later(instruction: Instruction) -> Plan:
        return plan(instruction)

    output = await PlannerArm(plan_later if later else plan).run(REQUEST)
    assert json.loads(output.content) == {
        "subtasks": [{"task_type": "generation", "description": REQUEST.prompt, "depends_on": [], "worker": "w"}],
        "confidence": 1.0,
    }


async def test_no_plan_and_no_instruction_are_refused() -> None:
    class Empty:
        def predict(self, instructions):
            return [PlanPrediction(task_types=(), dependencies=())]

    with pytest.raises(WorkerRequestError, match="no sub-task"):
        await PlannerArm(Empty()).run(REQUEST)
    with pytest.raises(WorkerRequestError, match="empty"):
        await PlannerArm(Empty()).run(REQUEST.model_copy(update={"prompt": "  "}))
