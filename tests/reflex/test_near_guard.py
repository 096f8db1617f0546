from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.reflex import answered_by
from bench.reflex_pairs import opposite_pairs, paraphrase_pairs
from orchestai.config.reflex import NearHitConfig
from orchestai.reflex.guard import canonical_words
from orchestai.reflex.near import HashedEncoder, NearIndex


def test_no_opposite_is_answered() -> None:
    pairs = opposite_pairs()
    assert len(set(pairs)) >= 200
    assert [pair for pair in pairs if answered_by(*pair) or answered_by(*pair[::-1])] == []


def test_the_guard_and_not_the_cosine_keeps_opposites_apart() -> None:
    encode = HashedEncoder()
    words = [(canonical_words(first), canonical_words(second)) for first, second in opposite_pairs()]
    near = [1 for a, b in words if a and b and float(encode(" ".join(a)) @ encode(" ".join(b))) > 0.9]
    assert near  # a cosine alone would not do
    index = NearIndex(NearHitConfig(), ttl_s=60, encoder=lambda text: HashedEncoder()(""" one """))
    index.add("s", ("from", "paris", "to", "rome"), "from Paris to Rome", "key")
    assert index.find("s", ("from", "paris", "to", "rome"), "from paris to rome") is not None
    assert index.find("s", ("from", "rome", "to", "paris"), "from rome to paris") is None


def test_polite_forms_of_one_request_are_answered() -> None:
    pairs = paraphrase_pairs()
    hits = sum(answered_by(first, second) for first, second in pairs)
    assert hits / len(pairs) >= 0.85


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("What's the capital of France?", "what is the capital of France"),
        ("Hi, can you please give me a summary of this text? Thanks!", "Summarize this text."),
        ("Write 3 lines", "Write three lines"),
        ("Convert 1,000 km", "convert 1000 kilometers"),
        ("Why don't cats swim?", "Why do cats not swim?"),
    ],
)
def test_what_may_differ(first: str, second: str) -> None:
    same = canonical_words(first) == canonical_words(second)
    assert same is not ("don't" in first)  # word order counts, even here


@pytest.mark.parametrize(
    "text", ["", "?", "please", "Hi", "...", "\x00", "thanks", "a", "`", '"', "<EMAIL_1>", "😀", "x" * 9_000]
)
def test_odd_texts_have_no_form_or_one(text: str) -> None:
    words = canonical_words(text)
    assert words is None or all(words)


@given(st.text(max_size=200))
def test_a_text_equals_itself_and_its_polite_form_never_raises(text: str) -> None:
    assert canonical_words(text) == canonical_words(text)
    canonical_words(f"Could you please {text}? Thanks!")


@given(st.lists(st.sampled_from(["not", "no", "Paris", "Rome", "5", "50", "before", "after", "all"]), min_size=2))
def test_words_that_matter_are_never_dropped_or_moved(words: list[str]) -> None:
    found = canonical_words(" ".join(words))
    assert found == tuple(word.lower() for word in words)


def test_a_full_scope_forgets_the_oldest() -> None:
    index = NearIndex(NearHitConfig(max_entries=3), ttl_s=60)
    for number in range(5):
        index.add("s", ("count", str(number)), f"count {number}", f"key{number}")
    found = [index.find("s", ("count", str(number)), "") for number in range(5)]
    assert [hit.key if hit else None for hit in found] == [None, None, "key2", "key3", "key4"]
