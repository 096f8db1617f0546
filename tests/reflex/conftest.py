from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestai.config import ReflexConfig
from orchestai.config.reflex import InjectionConfig
from orchestai.contracts import Instruction
from orchestai.reflex import ReflexPipeline, ReflexVerdict


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pipeline(clock: Clock) -> ReflexPipeline:
    return ReflexPipeline(ReflexConfig(injection=InjectionConfig(learned=False)), clock=clock)


Ask = Callable[..., ReflexVerdict]


@pytest.fixture
def ask(pipeline: ReflexPipeline) -> Ask:
    def check(text: str, *, version: str = "v1", **more: object) -> ReflexVerdict:
        return pipeline.check(Instruction(text=text, **more), model_version=version)

    return check
