from __future__ import annotations

import logging

import pytest

from orchestai.service.context import RequestFilter, current_request, open_context

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("flags", ["00", "01"])
def test_a_callers_decision_on_sampling_wins(flags: str) -> None:
    context = open_context("r", f"00-{TRACE}-b7ad6b7169203331-{flags}", sample_ratio=0.5)
    assert (context.trace_id, context.trace_flags) == (TRACE, flags)
    assert context.traceparent == f"00-{TRACE}-{context.span_id}-{flags}"


def test_a_fresh_trace_is_sampled_by_its_id_as_opentelemetry_does() -> None:
    from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

    sampler = TraceIdRatioBased(0.3)
    contexts = [open_context("", "", sample_ratio=0.3) for _ in range(300)]
    for context in contexts:
        decision = sampler.should_sample(None, int(context.trace_id, 16), "x").decision
        assert (context.trace_flags == "01") == (decision is Decision.RECORD_AND_SAMPLE)
    assert len({context.trace_id for context in contexts}) == len({each.request_id for each in contexts}) == 300
    assert {len(context.span_id) for context in contexts} == {16}
    assert open_context("", "", sample_ratio=1.0).trace_flags == "01"
    assert open_context("", "", sample_ratio=0.0).trace_flags == "00"


def test_lines_of_the_log_name_the_request() -> None:
    context = open_context("r-7", "")
    record = logging.makeLogRecord({"msg": "hello"})
    assert RequestFilter().filter(record)
    assert (record.request_id, record.trace_id) == ("r-7", context.trace_id)
    assert current_request() == context
