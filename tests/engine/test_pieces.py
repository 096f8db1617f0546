"""The answer in pieces: only where one sub-task is the answer, and never two versions of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import pytest

from orchestai.contracts import Instruction, WorkerOutput, WorkerRequest
from orchestai.engine import Engine
from orchestai.errors import WorkerUnavailableError
from tests.engine.scripted import ScriptedWorker, answer, make_plan

MakeEngine = Callable[..., Engine]
INSTRUCTION = Instruction(text="Do it")


class StreamingScript(ScriptedWorker):
    """Writes its parts one by one; an exception among them is raised."""

    def __init__(self, name: str, *parts: str | Exception) -> None:
        super().__init__(name, answer("".join(part for part in parts if isinstance(part, str))))
        self.parts = parts

    async def stream(self, request: WorkerRequest) -> AsyncGenerator[str | WorkerOutput, None]:
        self.requests.append(request)
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            yield part
        yield WorkerOutput(content="".join(map(str, self.parts)), cost=0.5)


async def test_the_last_subtask_is_told_in_pieces_and_no_other(make_engine: MakeEngine) -> None:
    workers = {"w0": StreamingScript("w0", "hidden"), "w1": StreamingScript("w1", "Pa", "ris")}
    told: list[str] = []
    result = await make_engine(workers).execute(INSTRUCTION, make_plan(((), (0,))), on_piece=told.append)
    assert told == ["Pa", "ris"]
    assert result.answer == "Paris"
    assert result.total_cost == 0.5


async def test_two_answers_are_not_mixed(make_engine: MakeEngine) -> None:
    workers = {"w0": StreamingScript("w0", "a"), "w1": StreamingScript("w1", "b")}
    told: list[str] = []
    result = await make_engine(workers).execute(INSTRUCTION, make_plan(((), ())), on_piece=told.append)
    assert told == []
    assert result.answer == "a\n\nb"


async def test_a_worker_that_does_not_stream_tells_all_at_once(make_engine: MakeEngine) -> None:
    told: list[str] = []
    workers = {"w0": ScriptedWorker("w0", answer("Paris"))}
    await make_engine(workers).execute(INSTRUCTION, make_plan(((),)), on_piece=told.append)
    assert told == ["Paris"]


@pytest.mark.parametrize(("parts", "calls"), [(("Pa",), 1), ((), 3)])
async def test_what_was_told_is_not_told_anew(make_engine: MakeEngine, parts: tuple[str, ...], calls: int) -> None:
    broken = StreamingScript("w0", *parts, WorkerUnavailableError("reset", worker="w0"))
    result = await make_engine({"w0": broken}, max_attempts=3).execute(
        INSTRUCTION, make_plan(((),)), on_piece=lambda _text: None
    )
    assert len(broken.requests) == calls
    assert not result.completed
    assert "worker_unavailable" in (result.error or "")
