from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestai.errors import StorageError
from orchestai.logs import BadLine, read_segment
from orchestai.logs.codec import encode_line
from orchestai.logs.quarantine import write_quarantine


@pytest.fixture
def day(tmp_path: Path) -> Path:
    folder = tmp_path / "execution_logs" / "2026-11-21"
    folder.mkdir(parents=True)
    return folder


def test_bad_lines_are_named_and_kept(day, make_record, tmp_path):
    good = make_record().to_line()
    fields = json.loads(good)
    del fields["crc"]
    foreign = b"GET / HTTP/1.1"
    latin = b'{"a":"\xe9"}'
    flipped = good.replace(b'"cost":0.045', b'"cost":0.055', 1)
    newer = encode_line({**fields, "schema_version": 2})
    wrong = encode_line({**fields, "cost": "dear"})
    unknown = encode_line({**fields, "mood": "good"})
    bare = json.dumps(fields).encode()
    lines = [good, foreign, latin, flipped, newer, wrong, unknown, bare, b"[1]", b'{"a":NaN}', good[:-40]]
    segment = day / "h-1-1.jsonl"
    segment.write_bytes(b"\n".join(lines))

    content = read_segment(segment)
    assert [record.execution_id for record in content.records] == ["e-1"]
    assert [(bad.line, bad.reason) for bad in content.bad_lines] == [
        (2, "json"),
        (3, "encoding"),
        (4, "crc"),
        (5, "schema"),
        (6, "schema"),
        (7, "schema"),
        (8, "crc"),
        (9, "json"),
        (10, "json"),
        (11, "json"),
    ]
    for bad in content.bad_lines:
        assert bad.read_raw() == lines[bad.line - 1]
        assert bad.sha256 == hashlib.sha256(lines[bad.line - 1]).hexdigest()

    kept = tmp_path / "bad.jsonl"
    write_quarantine(kept, content.bad_lines)
    rows = [json.loads(row) for row in kept.read_text().splitlines()]
    assert rows[0]["raw"] == foreign.decode()
    assert rows[1]["raw_base64"] == "eyJhIjoi6SJ9"
    assert rows[3]["detail"].startswith("schema_version is 2")
    assert "cost" in rows[4]["detail"]


def test_huge_line_is_skipped_with_its_bytes_kept(day, make_record, tmp_path):
    huge = b"x" * 3_000_001
    segment = day / "h-1-1.jsonl"
    segment.write_bytes(huge + b"\n" + make_record().to_line() + b"\n" + huge)
    content = read_segment(segment, max_line_bytes=100_000)
    assert len(content.records) == 1
    assert [(bad.line, bad.reason, bad.length) for bad in content.bad_lines] == [
        (1, "too_long", len(huge)),
        (3, "too_long", len(huge)),
    ]
    assert {bad.sha256 for bad in content.bad_lines} == {hashlib.sha256(huge).hexdigest()}
    write_quarantine(tmp_path / "q" / "s.bad.jsonl", content.bad_lines)
    rows = [json.loads(row) for row in (tmp_path / "q" / "s.bad.jsonl").read_text().splitlines()]
    assert [(tmp_path / "q" / row["raw_file"]).read_bytes() for row in rows] == [huge, huge]


def test_line_of_exactly_the_limit_is_read(day, make_record):
    line = make_record().to_line()
    segment = day / "h-1-1.jsonl"
    segment.write_bytes(line + b"\n" + line)
    assert len(read_segment(segment, max_line_bytes=len(line)).records) == 2
    assert len(read_segment(segment, max_line_bytes=len(line) - 1).bad_lines) == 2


def test_line_being_written_is_not_bad(day, make_record):
    line = make_record().to_line()
    segment = day / "h-1-1.open"
    segment.write_bytes(line + b"\n" + line[:50])
    content = read_segment(segment)
    assert (len(content.records), content.bad_lines) == (1, [])


def test_plain_daily_file(day):
    plain = day.parent / "executions_20261121.jsonl"
    line = {
        "timestamp": "2026-11-21T08:00:00",
        "instruction": "Hi",
        "success": False,
        "cost": 0,
        "latency_ms": 5,
    }
    plain.write_bytes(b"\r\n".join([json.dumps(line).encode(), b"", b'{"instruction": "no time"}', b""]))
    content = read_segment(plain)
    assert [record.instruction for record in content.records] == ["Hi"]
    assert [(bad.line, bad.reason) for bad in content.bad_lines] == [(3, "schema")]


def test_half_characters_in_escapes_are_replaced(day):
    plain = day.parent / "executions_20261121.jsonl"
    plain.write_bytes(
        b'{"timestamp":"2026-11-21T08:00:00","instruction":"a\\ud800b","success":true,"cost":0,"latency_ms":1}'
    )
    assert read_segment(plain).records[0].instruction == "a\ufffdb"


def test_missing_file(day):
    with pytest.raises(StorageError, match="No such file"):
        read_segment(day / "h-1-1.jsonl")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    [
        "timestamp",
        "instruction",
        "success",
        "cost",
        "latency_ms",
        "planner_outputs",
        "execution_result",
        "execution_id",
        "completed",
        "schema_version",
        "attempt",
        "sequence",
        "subtasks",
        "checks",
        "source",
        "crc",
    ]
)
lines = st.one_of(
    st.binary(max_size=200),
    st.dictionaries(fields, json_values).map(lambda value: json.dumps(value).encode()),
    st.dictionaries(fields, json_values).map(
        lambda value: encode_line(json.loads(json.dumps(value), parse_constant=str))
    ),
    st.integers(1, 3000).map(lambda depth: b"[" * depth),
    st.integers(1, 6000).map(lambda digits: b'{"cost":' + b"9" * digits + b"}"),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(lines, max_size=5), st.sampled_from(["2026-11-21/h-1-1.jsonl", "executions_20261121.jsonl"]))
def test_reader_never_raises_and_never_loses(tmp_path, parts, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    content = b"\n".join(parts)
    path.write_bytes(content)
    read = read_segment(path)
    assert len(read.records) + len(read.bad_lines) == sum(bool(line.strip()) for line in content.split(b"\n"))
    for bad in read.bad_lines:
        assert isinstance(bad, BadLine)
        assert bad.read_raw() == content.split(b"\n")[bad.line - 1]
        json.dumps(bad.to_json()).encode()
    for record in read.records:
        record.to_line()
