from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestai.prompts.blocks import block, cut, share


@given(st.text(alphabet='"a\n ', max_size=40))
def test_the_fence_of_a_block_is_nowhere_inside_it(text: str) -> None:
    fence, *body, last = block(text).split("\n")
    assert fence == last
    assert set(fence) == {'"'}
    assert fence not in "\n".join(body)


@given(st.text(max_size=300), st.integers(min_value=3, max_value=300))
def test_cutting_keeps_short_texts_and_bounds_long_ones(text: str, limit: int) -> None:
    shortened = cut(text, limit)
    if len(text) <= limit:
        assert shortened == text
    else:
        assert f"[... {len(text) - limit:,} characters left out ...]" in shortened
        assert len(shortened) <= limit + 50


@given(st.lists(st.integers(min_value=0, max_value=1000), max_size=8), st.integers(min_value=0, max_value=3000))
def test_shares_stay_within_lengths_and_total(lengths: list[int], total: int) -> None:
    limits = share(lengths, total)
    assert all(0 <= limit <= length for limit, length in zip(limits, lengths, strict=True))
    assert sum(limits) == min(total, sum(lengths))
