"""What each column of the reference holds, and how its values become numbers and codes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.hashing import Hashes, hash_numbers, hash_texts, mix, null_hash
from orchestai.validation.lookup import Curve, Lookup

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["number", "category", "text", "id", "constant", "empty"]
Floats = NDArray[np.float64]

LEVELS = 30
BINS = 32
FEWEST_IN_BIN = 20
"""On few rows there are fewer bins: ends of bins that three values each fell between describe these values only."""
CODES = 34
"""Codes of every column: 0..31 bins or levels, then `OTHER` and `NULL`."""
OTHER = 32
NULL = 33
TEXT_WIDTH = 16
_REACH = 3.0
_NUMBER = re.compile(r"\d+")
_ID_NAME = re.compile(r"(^|_|\b)(id|uuid|guid|rownames?|index|row_?number|uid)($|_|\b)|id_str$|idnum$", re.IGNORECASE)


@dataclass
class Raw:
    """One column of one batch.

    Attributes:
        numbers: Values, NaN where missing (n,); None for texts.
        levels: Place of each value in `texts`, -1 where missing (n,); None for numbers.
        texts: Distinct texts of the batch.
        null: Missing values (n,).
    """

    numbers: Floats | None
    levels: NDArray[np.int64] | None
    texts: list[str]
    null: NDArray[np.bool_]
    _hashes: Hashes | None = field(default=None, repr=False)

    def text_hashes(self) -> Hashes:
        """Return the hash of each distinct text."""
        if self._hashes is None:
            self._hashes = hash_texts(self.texts)
        return self._hashes

    def hashes(self) -> Hashes:
        """Return a hash a value (n,); a number hashes by value, whatever its type."""
        if self.numbers is not None:
            return np.where(self.null, null_hash(), hash_numbers(self.numbers))
        assert self.levels is not None
        table = np.append(self.text_hashes(), null_hash())
        return np.asarray(table[self.levels])


def read_column(column: pa.Array) -> Raw:
    """Take a column apart: numbers, dates and truth values are numbers, everything else is text."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    kind = column.type
    null = np.asarray(column.is_null())
    if kinds.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if kinds.is_null(kind):
        return Raw(np.full(len(column), np.nan), None, [], np.ones(len(column), bool))
    if kinds.is_temporal(kind) and not kinds.is_interval(kind):
        narrow = kinds.is_date32(kind) or kinds.is_time32(kind)
        column = column.cast(pa.int32()).cast(pa.int64()) if narrow else column.cast(pa.int64())
        kind = column.type
    if kinds.is_boolean(kind) or kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind):
        values = column.cast(pa.float64(), safe=False)
        numbers = values.to_numpy(zero_copy_only=False)
        numbers = np.where(null, np.nan, numbers) if null.any() else np.asarray(numbers)
        return Raw(numbers, None, [], null | np.isnan(numbers))
    if not (kinds.is_string(kind) or kinds.is_large_string(kind)):
        column = pa.array([None if v is None else _as_text(v) for v in column.to_pylist()], pa.large_string())
    encoded = pc.dictionary_encode(column)
    levels = np.asarray(encoded.indices.fill_null(-1)).astype(np.int64)
    return Raw(None, levels, encoded.dictionary.to_pylist(), null)


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else repr(value)


@dataclass(frozen=True)
class Column:
    """How one column is read, learned from the reference.

    Attributes:
        name: Its name.
        kind: What it holds. `id`, `constant` and `empty` columns are left out of all geometry.
        numeric: Whether the values are numbers.
        edges: Inner bin edges of a number, or its distinct values where it has few (k,).
        knots: Values at `scores`, for numbers (q,).
        scores: Normal scores of `knots` (q,).
        scale: Width of the middle of a number, for what lies outside the knots.
        level_hashes: Sorted hashes of the frequent texts, of a text column: of its frequent words with digits (k,).
        level_codes: Code of each of them (k,).
        level_names: Text of each code.
        shares: Share of each code in the reference (CODES,).
        has_null: Whether the reference has missing values here.
    """

    name: str
    kind: Kind
    numeric: bool
    edges: Floats
    knots: Floats
    scores: Floats
    scale: float
    level_hashes: Hashes
    level_codes: NDArray[np.int64]
    level_names: tuple[str, ...]
    shares: Floats
    has_null: bool

    @cached_property
    def _bins(self) -> Lookup:
        return Lookup(self.edges)

    @cached_property
    def _curve(self) -> Curve:
        return Curve(self.knots, self.scores)

    @property
    def used(self) -> bool:
        """Whether geometry looks at it."""
        return self.kind in ("number", "category", "text")

    def codes(self, raw: Raw) -> NDArray[np.int16]:
        """Return a code a value (n,)."""
        if self.numeric:
            values = raw.numbers if raw.numbers is not None else texts_as_numbers(raw)
            bad = ~np.isfinite(values)
            values = np.where(bad, 0.0, values) if bad.any() else values
            found = self._bins(values)
            if self.kind == "category":  # then the edges are the values themselves
                found = (found - 1).clip(0)
                found[self.edges[found] != values] = OTHER
            coded = found.astype(np.int16)
            coded[bad] = OTHER
            coded[raw.null] = NULL
            return coded
        if raw.levels is None:
            raw = _numbers_as_texts(raw)
        if self.kind == "text":
            lengths = np.array([min(len(text).bit_length() * 2, BINS - 1) for text in raw.texts], dtype=np.int64)
            return np.append(lengths, NULL)[raw.levels].astype(np.int16)
        hashes = raw.text_hashes()
        place = np.searchsorted(self.level_hashes, hashes).clip(0, max(len(self.level_hashes) - 1, 0))
        table = np.full(len(hashes) + 1, OTHER)
        if len(self.level_hashes):
            hit = self.level_hashes[place] == hashes
            table[:-1][hit] = self.level_codes[place[hit]]
        table[-1] = NULL
        return np.asarray(table[raw.levels]).astype(np.int16)

    def features(self, raw: Raw, codes: NDArray[np.int16]) -> NDArray[np.float32]:
        """Return the values as numbers of about unit variance (n, width)."""
        if self.kind == "category":
            used = np.flatnonzero(self.shares > 0)
            spread = np.sqrt(max(float((self.shares * (1 - self.shares)).sum()), 1e-9))
            table = np.zeros((CODES, CODES), np.float32)
            table[np.arange(CODES), np.arange(CODES)] = 1.0 / spread
            table -= (self.shares / spread).astype(np.float32)
            return np.asarray(table[:, used][codes])
        if self.kind == "text":
            return _project_texts(raw, self.level_hashes)
        values = raw.numbers if raw.numbers is not None else texts_as_numbers(raw)
        known = np.isfinite(values)
        if known.all():
            score = self.normal_scores(values)
        else:
            score = self.normal_scores(np.where(known, values, self.knots[len(self.knots) // 2]))
            score[np.isposinf(values)] = _REACH + self.scores[-1]
            score[np.isneginf(values)] = self.scores[0] - _REACH
        if not self.has_null:
            return score.astype(np.float32)[:, None]
        return np.stack([score, np.where(raw.null, 1.5, 0.0)], axis=1).astype(np.float32)

    def normal_scores(self, values: Floats) -> Floats:
        """Return the normal score of each value; beyond the reference it goes on in units of `scale` to +-3 more."""
        inside = self._curve(values)
        low, high = self.knots[0], self.knots[-1]
        if values.size and (values.min() < low or values.max() > high):
            # Differences of numbers near the largest double overflow to infinity, and are clipped like any far value.
            with np.errstate(over="ignore"):
                beyond = np.where(values > high, values - high, np.where(values < low, values - low, 0.0))
            inside = inside + (beyond / self.scale).clip(-_REACH, _REACH)
        return inside

    @property
    def width(self) -> int:
        """Return the number of features."""
        if self.kind == "category":
            return int((self.shares > 0).sum())
        return {"text": TEXT_WIDTH, "number": 2 if self.has_null else 1}.get(self.kind, 0)


def fit_column(name: str, raw: Raw, *, allow_id: bool = True) -> Column:
    """Learn how to read a column from a sample of the reference."""
    rows = len(raw.null)
    present = int((~raw.null).sum())
    nothing = np.empty(0)
    edges, knots, scores, scale = nothing, nothing, nothing, 1.0
    level_hashes, level_codes = np.empty(0, np.uint64), np.empty(0, np.int64)
    names: tuple[str, ...] = ()
    kind: Kind
    if not present:
        kind = "empty"
    elif raw.numbers is not None:
        values = np.sort(raw.numbers[np.isfinite(raw.numbers)])
        distinct = np.unique(values)
        kind = _number_kind(name, raw.numbers[~raw.null], values, distinct, allow_id=allow_id)
        if kind == "category" or (kind == "constant" and len(distinct)):
            edges, names = distinct, tuple(f"{value:g}" for value in distinct)
        elif kind == "number":
            bins = int(np.clip(len(values) // FEWEST_IN_BIN, 4, BINS))
            edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
            knots, scores, scale = _knots(values)
    else:
        kind, level_hashes, level_codes, names = _fit_texts(name, raw, present, allow_id=allow_id)
    fitted = Column(
        name, kind, raw.numbers is not None, edges, knots, scores, scale, level_hashes, level_codes, names,
        np.zeros(CODES), bool(raw.null.any()),
    )  # fmt: skip
    shares = np.bincount(fitted.codes(raw), minlength=CODES) / max(rows, 1) if fitted.used else np.zeros(CODES)
    return replace(fitted, shares=shares)


def _number_kind(name: str, given: Floats, values: Floats, distinct: Floats, *, allow_id: bool) -> Kind:
    if len(distinct) <= 1:
        return "constant"
    if len(distinct) <= LEVELS and len(distinct) <= max(2, 0.2 * len(values)):
        return "category"
    whole = len(distinct) == len(values) == len(given) and bool(np.all(np.floor(values) == values))
    if allow_id and whole and len(values) >= 20:
        ordered = bool(np.all(np.diff(given) > 0))
        dense = len(values) >= 200 and len(values) / (distinct[-1] - distinct[0] + 1) >= 0.05
        if ordered or dense or _ID_NAME.search(name):
            return "id"
    return "number"


def _knots(values: Floats) -> tuple[Floats, Floats, float]:
    """Return distinct values, the normal score of the middle of each one's ranks, and the width of the middle."""
    from scipy.special import ndtri

    grid = np.unique(np.quantile(values, np.linspace(0, 1, 129), method="nearest"))
    low, high = np.searchsorted(values, grid, "left"), np.searchsorted(values, grid, "right")
    ranks = (low + high) / 2
    scores = ndtri((ranks / len(values)).clip(0.5 / len(values), 1 - 0.5 / len(values))).clip(-3, 3)
    p10, p90 = np.quantile(values, [0.1, 0.9])
    with np.errstate(over="ignore"):
        width = p90 - p10 if p90 > p10 else (grid[-1] - grid[0])
    return grid, scores, float(min(max(width / 2.56, np.finfo(float).tiny), 1e300))


def _fit_texts(
    name: str, raw: Raw, present: int, *, allow_id: bool
) -> tuple[Kind, Hashes, NDArray[np.int64], tuple[str, ...]]:
    assert raw.levels is not None
    counts = np.bincount(raw.levels[raw.levels >= 0], minlength=len(raw.texts))
    distinct = int((counts > 0).sum())
    nothing = np.empty(0, np.uint64), np.empty(0, np.int64), ()
    if distinct == 1:
        return "constant", *nothing
    words = float(np.mean([text.count(" ") + 1 for text in raw.texts[:2000]]))
    if distinct > 0.5 * present and words >= 4 and distinct > LEVELS:
        return "text", _repeated_numbers(raw, present), *nothing[1:]
    if allow_id and distinct == present >= 20 and words < 2 and (_ID_NAME.search(name) or distinct >= 200):
        return "id", *nothing
    order = np.lexsort((raw.text_hashes(), -counts))[:LEVELS]
    # A text that was seen once is no level: the next table has other such texts, and their axis would be lost.
    order = order[counts[order] >= _fewest(present)]
    if not len(order):
        return "text", _repeated_numbers(raw, present), *nothing[1:]
    hashes = raw.text_hashes()[order]
    by_hash = np.argsort(hashes)
    return "category", hashes[by_hash], by_hash.astype(np.int64), tuple(raw.texts[place] for place in order)


def _fewest(present: int) -> int:
    """Return how often a value must occur to be one that other tables will have too."""
    return int(np.clip(present // 500, 2, 5))


def texts_as_numbers(raw: Raw) -> Floats:
    """Return what the texts say as numbers, NaN where they do not."""
    assert raw.levels is not None
    table = np.full(len(raw.texts) + 1, np.nan)
    for place, text in enumerate(raw.texts):
        try:
            table[place] = float(text)
        except ValueError:
            continue
    return np.asarray(table[raw.levels])


def _numbers_as_texts(raw: Raw) -> Raw:
    assert raw.numbers is not None
    distinct, places = np.unique(raw.numbers, return_inverse=True)
    texts = [f"{value:g}" for value in distinct]
    return Raw(None, np.where(raw.null, -1, places), texts, raw.null)


class _Words(NamedTuple):
    """The words of the distinct texts of a batch."""

    distinct: list[str]
    places: NDArray[np.int64]  # (words,) of each in `distinct`
    owner: NDArray[np.int64]  # (words,) text that it is in


def _words(raw: Raw) -> _Words:
    import pyarrow as pa
    import pyarrow.compute as pc

    split = pc.utf8_split_whitespace(pc.utf8_lower(pa.array(raw.texts, pa.large_string())))
    words = pc.dictionary_encode(pc.list_flatten(split))
    owner = np.asarray(pc.list_parent_indices(split)).astype(np.int64)
    return _Words(words.dictionary.to_pylist(), np.asarray(words.indices).astype(np.int64), owner)


def _repeated_numbers(raw: Raw, present: int) -> Hashes:
    """Return the sorted hashes of the words with digits that several texts have."""
    words = _words(raw)
    times = np.bincount(words.places, minlength=len(words.distinct))
    frequent = np.flatnonzero(times >= _fewest(present))
    named = [word for place in frequent if _NUMBER.search(word := words.distinct[place])]
    return np.sort(hash_texts(named))


def _project_texts(raw: Raw, numbers: Hashes) -> NDArray[np.float32]:
    """Return the mean of pseudo-random directions of the words of each text (n, TEXT_WIDTH).

    Feature hashing (Weinberger et al. 2009) onto a fixed random projection: close texts share words. In texts of
    several words, a number that the reference does not repeat is any number: tickets and orders are counted on, which
    would make every week another distribution.

    Args:
        raw: The texts.
        numbers: Sorted hashes of the words with digits that the reference repeats.
    """
    assert raw.levels is not None
    words = _words(raw)
    counts = np.bincount(words.owner, minlength=len(raw.texts) + 1).astype(np.float32)
    own = hash_texts(words.distinct)
    numbered = [place for place, word in enumerate(words.distinct) if _NUMBER.search(word)]
    numbered = [place for place, known in zip(numbered, np.isin(own[numbered], numbers), strict=True) if not known]
    any_number = own.copy()
    any_number[numbered] = hash_texts([_NUMBER.sub("0", words.distinct[place]) for place in numbered])
    hashes = np.concatenate([own, any_number])
    chosen = words.places + np.where(counts[words.owner] > 1, len(own), 0)
    signs = np.stack([(mix(hashes, salt) >> np.uint64(63)).astype(np.float32) * 2 - 1 for salt in range(TEXT_WIDTH)], 1)
    sums = np.zeros((len(raw.texts) + 1, TEXT_WIDTH), np.float32)
    np.add.at(sums, words.owner, signs[chosen])
    sums /= np.sqrt(counts.clip(1))[:, None]
    return np.asarray(sums[raw.levels])
