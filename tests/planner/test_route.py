from __future__ import annotations

import pytest

from orchestai.contracts import Instruction
from orchestai.planner.route import decide_route, estimate_steps


@pytest.mark.parametrize(
    ("instruction", "reason"),
    [
        (Instruction(text="Name a colour.", constraints=("a", "b", "c", "d")), "4 constraints"),
        (Instruction(text="Name a colour.", priority="high"), "high priority"),
        (Instruction(text="1. read\n2. sort\n3. count\n4. draw\n5. mail\n6. file"), "6 steps"),
        (
            Instruction(text="Read it. Based on the result, pick one; if it fails, otherwise combine both."),
            "complex dependencies",
        ),
        (Instruction(text="Check the dosage of ibuprofen."), "specialised domain: medicine"),
    ],
)
def test_each_criterion_alone_asks_the_planner(instruction: Instruction, reason: str) -> None:
    decision = decide_route(instruction)
    assert decision.planner
    assert decision.reasons == (reason,)


@pytest.mark.parametrize(
    "instruction",
    [
        Instruction(text="Name a colour.", constraints=("a", "b", "c")),
        Instruction(text="Name a colour.", priority="low"),
        Instruction(text="1. read\n2. sort\n3. count\n4. draw\n5. mail"),
        Instruction(text="Summarise the text and translate it into French."),
    ],
)
def test_at_the_limit_one_worker_answers(instruction: Instruction) -> None:
    assert decide_route(instruction) == decide_route(instruction, steps=estimate_steps(instruction))
    assert not decide_route(instruction).planner


def test_steps() -> None:
    assert estimate_steps(Instruction(text="Name a colour.")) == 1
    assert estimate_steps(Instruction(text="Read it, summarise it and translate it.")) == 3
    assert estimate_steps(Instruction(text="Read it and then sort it")) == 2
    assert decide_route(Instruction(text="Name a colour."), steps=6).reasons == ("6 steps",)
