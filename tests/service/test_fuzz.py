"""The HTTP surface under schemathesis: whatever comes in, what goes out is as the description says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.app.endpoint import load
from tests.service.harness import Running, running

OPERATIONS = (
    ("POST", "/v1/instructions"),
    ("GET", "/v1/executions"),
    ("GET", "/v1/executions/{execution_id}"),
    ("GET", "/v1/executions/{execution_id}/provenance"),
    ("DELETE", "/v1/executions/{execution_id}"),
    ("POST", "/v1/executions/{execution_id}/approve"),
    ("POST", "/v1/executions/{execution_id}/reject"),
    ("POST", "/v1/executions/{execution_id}/feedback"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/models/{model}"),
)
CHECKS = (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    schemathesis.checks.not_a_server_error,
)


@pytest.fixture(scope="module")
def fuzzed(configs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service whose workers are simulated: it answers at once, and nothing is down."""
    project = load(configs, tmp_path_factory.mktemp("fuzz"))
    with running(project, mock=True) as found:
        yield found


def fuzz(service: Running, method: str, path: str, mode: GenerationMode, examples: int) -> set[int]:
    """Send requests and return the statuses that came back."""
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    seen: set[int] = set()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def follow(case: schemathesis.Case) -> None:
        response = case.call(timeout=30)
        seen.add(response.status_code)
        case.validate_response(response, checks=list(CHECKS))

    follow()
    return seen


def check(service: Running, method: str, path: str, examples: int) -> None:
    seen = fuzz(service, method, path, GenerationMode.POSITIVE, examples)
    if path in ("/v1/instructions", "/v1/executions"):
        assert 200 in seen, "what the description allows is accepted"
    seen = fuzz(service, method, path, GenerationMode.NEGATIVE, examples)
    assert seen & {400, 404, 405, 415}, "what it does not allow is refused"


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_requests_that_are_described_and_others(fuzzed: Running, method: str, path: str) -> None:
    check(fuzzed, method, path, 15)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_many_requests(fuzzed: Running, method: str, path: str) -> None:
    check(fuzzed, method, path, 300)
