from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai.workers.sse import EventParser, EventTooLongError

TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\n"), max_size=30)
EVENT = st.lists(TEXT, min_size=1, max_size=3)


def parse(chunks: list[bytes], max_bytes: int = 10_000) -> list[bytes]:
    parser = EventParser(max_bytes)
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events + parser.finish()


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    marks = sorted({0, len(stream), *(mark % (len(stream) + 1) for mark in at)})
    return [stream[start:stop] for start, stop in pairwise(marks)]


@given(
    events=st.lists(EVENT, max_size=6),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    noise=st.sampled_from(["", ": a comment", "event: message", "id: 7", "retry: 10", "data_not: x"]),
    space=st.booleans(),
    bom=st.booleans(),
    at=st.lists(st.integers(0, 10_000), max_size=40),
)
def test_events_survive_every_cut(
    events: list[list[str]], end: str, noise: str, space: bool, bom: bool, at: list[int]
) -> None:
    lines: list[str] = []
    for event in events:
        lines += [noise] if noise else []
        lines += [f"data:{' ' if space or text.startswith(' ') else ''}{text}" for text in event]
        lines.append("")
    stream = (b"\xef\xbb\xbf" if bom else b"") + "".join(line + end for line in lines).encode()
    assert parse(cut(stream, at)) == ["\n".join(event).encode() for event in events]


@given(stream=st.binary(max_size=300), at=st.lists(st.integers(0, 300), max_size=20))
def test_the_cuts_make_no_difference_to_any_bytes(stream: bytes, at: list[int]) -> None:
    assert parse(cut(stream, at)) == parse([stream])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_line_end_in_two_halves_is_one(end: bytes) -> None:
    stream = end.join([b"data: a", b"data: b", b"", b"data: c", b"", b""])
    assert parse([stream[at : at + 1] for at in range(len(stream))]) == [b"a\nb", b"c"]


def test_an_event_without_its_blank_line_is_not_given() -> None:
    assert parse([b"data: a\n\ndata: b\n"]) == [b"a"]


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 200, b"data: xxxxx\n" * 40], ids=["one line", "many lines"])
def test_an_event_without_end_is_refused(stream: bytes) -> None:
    with pytest.raises(EventTooLongError, match="100 bytes"):
        parse(cut(stream, list(range(0, len(stream), 7))), max_bytes=100)
