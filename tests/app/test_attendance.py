"""Workers that fail again and again are not planned for; where nobody is left, nothing runs and nothing is spent."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from werkzeug import Request, Response

from orchestai.app.runtime import open_runtime
from orchestai.config import BreakerConfig, Project, RoutingConfig
from orchestai.contracts import Instruction, WorkerCatalog, WorkerProfile
from orchestai.errors import WorkersAwayError
from orchestai.workers.breaker import BreakerState
from tests.app.endpoint import Answer, Endpoint, load, refuses, says

OPEN_S = 0.5


@pytest.fixture
def pair(configs: Path, tmp_path: Path, endpoint: Endpoint) -> Project:
    """A cheap and a dear worker behind one server, breakers that open at the second failure."""
    workers = tuple(
        WorkerProfile(
            name=name, description="d", model=name, base_url=endpoint.base_url, output_usd_per_mtok=usd, timeout_s=5.0
        )
        for name, usd in (("cheap", 1.0), ("dear", 9.0))
    )
    loaded = load(configs, tmp_path / "home")
    breaker = BreakerConfig(failures=2, open_s=OPEN_S)
    return loaded.model_copy(
        update={
            "workers": WorkerCatalog(workers=workers),
            "routing": RoutingConfig(simulated="never"),
            "engine": loaded.engine.model_copy(update={"breaker": breaker, "max_attempts": 1, "stand_ins": 0}),
        }
    )


def broken(*names: str) -> Answer:
    def answer(request: Request) -> Response:
        wanted = json.loads(request.get_data())["model"]
        return refuses(500, "broken")(request) if wanted in names else says("Paris")(request)

    return answer


def asked(number: int) -> Instruction:
    return Instruction(text=f"What is the capital of country {number}?")


def test_a_worker_whose_breaker_is_open_is_not_planned_for_until_it_may_be_tried_again(
    pair: Project, endpoint: Endpoint
) -> None:
    endpoint.answer = broken("cheap")
    with open_runtime(pair, learned=False) as runtime:
        cheap = runtime.workforce.breakers["cheap"]
        first = runtime.execute(asked(0))
        assert (first.plan.assignments[0].worker, first.result.subtasks[0].worker) == ("cheap", "dear")
        runtime.execute(asked(1))
        assert cheap.state is BreakerState.OPEN
        assert set(runtime.workforce.away()) == {"cheap"}
        before = len(endpoint.requests)
        third = runtime.execute(asked(2))
        assert third.plan.assignments[0].worker == "dear"
        assert third.plan.assignments[0].alternatives == ()
        assert [request["model"] for request in endpoint.requests[before:]] == ["dear"]
        kept = runtime.execute(asked(0))
        assert kept.plan.assignments[0].worker == "dear", "also in a plan that was made before it failed"
        time.sleep(OPEN_S)
        endpoint.answer = says("Paris")
        assert runtime.execute(asked(3)).plan.assignments[0].worker == "cheap"
        assert not runtime.workforce.away()


def test_where_all_are_away_nothing_runs(pair: Project, endpoint: Endpoint) -> None:
    endpoint.answer = broken("cheap", "dear")
    with open_runtime(pair, learned=False) as runtime:
        for number in range(2):
            assert not runtime.execute(asked(number)).result.completed
        before = len(endpoint.requests)
        with pytest.raises(WorkersAwayError, match="cheap: its breaker is open; dear: its breaker is open") as caught:
            runtime.execute(asked(2))
        assert 0 < caught.value.retry_after_s <= OPEN_S
        assert len(endpoint.requests) == before
        time.sleep(OPEN_S)
        endpoint.answer = says("Paris")
        assert runtime.execute(asked(3)).result.answer == "Paris"
