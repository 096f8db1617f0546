"""What can be an instruction, and what cannot."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from orchestai.contracts import Budget, Instruction
from orchestai.errors import InstructionError


def test_text_is_stripped_and_fields_have_defaults() -> None:
    instruction = Instruction(text="  Übersetze das: 你好 \n")
    assert instruction.text == "Übersetze das: 你好"
    assert instruction.budget == Budget()
    assert instruction.id != Instruction(text="x").id


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_empty(text: str) -> None:
    with pytest.raises(InstructionError, match="empty"):
        Instruction(text=text)


def test_a_hundred_kilobytes_are_too_long_and_the_remedy_is_named() -> None:
    with pytest.raises(InstructionError, match=r"102,400 characters; 32,768 are allowed\. .*--input"):
        Instruction(text="a" * 102_400)


@pytest.mark.parametrize("text", ["a\x00b", "\x1b[31mred", "bell\x07", "\ud800 lone"])
def test_binary(text: str) -> None:
    with pytest.raises(InstructionError, match="control character"):
        Instruction(text=text)


def test_unknown_fields_and_negative_budgets_are_refused() -> None:
    with pytest.raises(ValidationError):
        Instruction.model_validate({"text": "x", "budjet": 1})
    with pytest.raises(ValidationError):
        Budget(usd=-1)
