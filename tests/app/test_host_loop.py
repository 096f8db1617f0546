"""A runtime on the loop of its host: no call changes threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from orchestai.app.places import executions_state
from orchestai.app.runtime import build_runtime
from orchestai.config import Project
from orchestai.contracts import Budget, ExecutionEvent, Instruction
from orchestai.engine.store import ExecutionStore
from orchestai.errors import InfeasibleError
from orchestai.logs import ExecutionSource
from tests.app.endpoint import Endpoint

INSTRUCTION = Instruction(text="What is the capital of France?")


async def test_everything_happens_on_the_hosts_loop(online: Project) -> None:
    runtime = build_runtime(online)
    runtime.live_here()
    threads: set[threading.Thread] = set()

    def note(_event: ExecutionEvent) -> None:
        threads.add(threading.current_thread())

    host = asyncio.create_task(asyncio.sleep(60))
    execution = await runtime.aexecute(INSTRUCTION, on_event=note)
    assert execution.result.answer == "Paris"
    assert threads == {threading.current_thread()}
    with pytest.raises(RuntimeError, match="cannot wait for it"):
        runtime.execute(INSTRUCTION)
    await runtime.aclose()
    assert not host.done(), "the host's own tasks are its own"
    host.cancel()
    with pytest.raises(RuntimeError, match="closed"):
        runtime.live_here()


async def test_a_runtime_that_works_elsewhere_does_not_move(online: Project) -> None:
    runtime = build_runtime(online)
    await runtime.aplan(INSTRUCTION)
    with pytest.raises(RuntimeError, match="another loop"):
        runtime.live_here()
    await runtime.aclose()


def test_a_host_that_ended_without_closing_leaves_the_rest_closable(online: Project) -> None:
    runtime = build_runtime(online)

    async def host() -> None:
        runtime.live_here()

    asyncio.run(host())
    runtime.close()
    runtime.close()


async def test_a_submitted_request_is_on_disk_before_its_work_is_done(online: Project, endpoint: Endpoint) -> None:
    runtime = build_runtime(online)
    runtime.live_here()
    keyed = INSTRUCTION.model_copy(update={"idempotency_key": "k"})
    first = await runtime.executions.submit(keyed, source=ExecutionSource(user="eva"))
    assert first.task is not None
    assert runtime.store is not None
    assert runtime.store.find(first.id) is not None
    again = await runtime.executions.submit(keyed.model_copy(update={"id": "other"}), source=ExecutionSource())
    assert (again.id, again.task) == (first.id, None)
    assert await runtime.executions.join(first.id) == await first.task
    await asyncio.wrap_future(runtime.store.flush())
    stored = runtime.store.find(first.id)
    assert stored is not None
    assert stored.status == "finished"
    assert runtime.store.cost_by_user(since=0.0) == {"eva": 0.0}
    assert runtime.store.cost_by_user(since=stored.created + 1) == {}
    await runtime.aclose()
    assert len(endpoint.requests) == 1


async def test_what_may_be_spent_limits_the_execution_but_not_the_request(online: Project, endpoint: Endpoint) -> None:
    workers = tuple(worker.model_copy(update={"output_usd_per_mtok": 1e6}) for worker in online.workers.profiles())
    dear = online.model_copy(update={"workers": online.workers.model_copy(update={"workers": workers})})
    runtime = build_runtime(dear)
    runtime.live_here()
    rich = INSTRUCTION.model_copy(update={"budget": Budget(usd=1e9)})
    with pytest.raises(InfeasibleError, match=r"budget of \$0\.500000"):
        await runtime.executions.run(rich, source=ExecutionSource(), spendable_usd=0.5, execution_id="e")
    await runtime.aclose()
    store = ExecutionStore(executions_state(dear))
    stored = store.find("e")
    store.close()
    assert stored is not None
    assert stored.instruction.budget.usd == 1e9
    assert endpoint.requests == []
