from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai.arms.aggregate import Opinion, average, normalised, vote, weighted_vote


def opinions(*pairs: tuple[object, float]) -> list[Opinion]:
    return [Opinion(arm=f"a{n}", content=content, confidence=c) for n, (content, c) in enumerate(pairs)]


def test_the_majority_wins_in_the_words_of_its_surest_arm() -> None:
    said = vote(opinions(("Lyon", 0.99), ("paris.", 0.2), ('  "Paris"', 0.4)))
    assert (said.content, said.arms) == ('  "Paris"', ("a1", "a2"))
    assert said.confidence == pytest.approx(2 / 3)


def test_a_tie_goes_to_the_surer_camp_then_to_the_first() -> None:
    assert vote(opinions(("a", 0.4), ("b", 0.6))).content == "b"
    assert vote(opinions(("a", 0.5), ("b", 0.5))).content == "a"


def test_a_weighted_vote_may_overrule_the_majority() -> None:
    said = weighted_vote(opinions(("Lyon", 0.9), ("Paris", 0.3), ("Paris", 0.3)))
    assert said.content == "Lyon"
    assert said.confidence == pytest.approx(0.9 / 1.5)
    learned = weighted_vote(opinions(("Lyon", 0.9), ("Paris", 0.1)), {"a0": 1.0, "a1": 3.0})
    assert (learned.content, learned.confidence) == ("Paris", pytest.approx(0.75))


def test_numbers_are_averaged() -> None:
    said = average(opinions(("10", 1.0), ("It is 1,020.5 metres", 0.5), ("no idea", 0.9), ("1 or 2", 0.9)))
    assert said is not None
    assert said.content == pytest.approx((10 + 1020.5) / 2)
    assert said.arms == ("a0", "a1")
    assert said.confidence == pytest.approx(1.5 / 4)
    weighted = average(opinions((1.0, 1.0), ("4", 1.0)), {"a0": 1.0, "a1": 2.0})
    assert weighted is not None
    assert weighted.content == pytest.approx(3.0)
    assert average(opinions(("none", 1.0), (True, 1.0), (float("nan"), 1.0))) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris", " paris. "),
        ("**Yes!**", "yes"),
        ("1,000", 1000),
        ("5", "5.0"),
        ('{"b": 1, "a": [2]}', '{"a":[2],"b":1}'),
        ({"a": 1}, '{"a": 1}'),
        ("two  words", "Two\nwords"),
    ],
)
def test_equal_answers(one: object, other: object) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("yes", "no"),
        ("1", "-1"),
        ("1.5", "15"),
        ("1,5", "15"),
        ("do it", "do not do it"),
        ("[1, 2]", "[2, 1]"),
        ("{x", "[x"),
    ],
)
def test_different_answers(one: object, other: object) -> None:
    assert normalised(one) != normalised(other)


@given(st.lists(st.tuples(st.text(max_size=8), st.floats(0, 1)), min_size=1, max_size=6))
def test_whatever_is_said_somebody_said_it(pairs: list[tuple[str, float]]) -> None:
    asked = opinions(*pairs)
    for said in (vote(asked), weighted_vote(asked)):
        assert said.content in [o.content for o in asked]
        assert 0 <= said.confidence <= 1
        assert said.arms
