"""Tables that nobody wants: a result or a clear refusal, never a crash, never a silent pass."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from orchestai.errors import DataError
from orchestai.validation import DatasetValidator, GateSettings, ValidationResult

QUICK = GateSettings(sample_rows=100, null_draws=20, bootstrap_draws=10, cascade_rows=200, embedding_rows=0)
GATE = DatasetValidator(settings=QUICK, use_cache=False)
N = 40


def consistent(result: ValidationResult) -> None:
    """What holds for every result, whatever the table."""
    assert result.rows > 0
    for found in result.dimensions.values():
        assert (found.score is None) == (found.status == "not_measurable")
        assert found.score is None or 0 <= found.score <= 100
        assert found.score is not None or found.reason
    if result.approved_for_training:
        assert not result.partial
        assert result.collapse_score is not None
        assert result.verdict in ("approved", "warn")
    if not all(found.score is not None for found in result.dimensions.values()):
        assert "not measurable" in result.reason
    assert len(set(result.problematic_rows)) == len(result.problematic_rows)
    assert all(0 <= row < result.rows for row in result.problematic_rows)
    assert 0 <= result.confidence <= 100


TABLES: dict[str, Callable[[], Any]] = {
    "two rows": lambda: pa.table({"a": [1, 2]}),
    "booleans": lambda: pa.table({"a": [True, False] * N, "b": [None, True] * N}),
    "all the same row": lambda: pa.table({"a": [1.5] * N, "b": ["x"] * N}),
    "only nan": lambda: pa.table({"a": [math.nan] * N, "b": np.arange(N) ** 1.5}),
    "one value in a sea of nulls": lambda: pa.table({"a": [1.0] + [None] * N, "b": [None] * N + ["x"]}),
    "negative zero and denormals": lambda: pa.table({"a": [0.0, -0.0, 5e-324, -5e-324] * N}),
    "largest and smallest doubles": lambda: pa.table({"a": [1.7e308, -1.7e308, 1e-308, 0.0] * N, "b": range(4 * N)}),
    "64-bit integers": lambda: pa.table({"a": pa.array([2**63 - 1, -(2**63), 0, 1] * N, pa.int64())}),
    "unsigned": lambda: pa.table({"a": pa.array([2**64 - 1, 0, 1, 2**63] * N, pa.uint64())}),
    "decimals": lambda: pa.table({"a": [decimal.Decimal("1.10"), decimal.Decimal("-99999999.99"), None] * N}),
    "dates before 1970": lambda: pa.table({"a": [dt.date(1, 1, 1), dt.date(1969, 12, 31), dt.date(9999, 12, 31)] * N}),
    "times and durations": lambda: pa.table(
        {"a": [dt.time(1, 2), None] * N, "b": pa.array([1, -1] * N, pa.duration("us"))}
    ),
    "time zones": lambda: pa.table({"a": pa.array([0, 2**60] * N, pa.timestamp("ns", "Asia/Tokyo"))}),
    "binary": lambda: pa.table({"a": [b"\xff\xfe", b"", None] * N}),
    "lists of structs": lambda: pa.table({"a": [[{"b": 1}], [], None] * N}),
    "maps": lambda: pa.table({"a": pa.array([[("k", 1)], []] * N, pa.map_(pa.string(), pa.int64()))}),
    "dictionaries": lambda: pa.table({"a": pa.array(["x", "y", None] * N).dictionary_encode()}),
    "null type": lambda: pa.table({"a": pa.nulls(N), "b": range(N)}),
    "half floats": lambda: pa.table({"a": pa.array(np.arange(N, dtype=np.float16))}),
    "fixed size lists": lambda: pa.table({"a": pa.array([[1, 2]] * N, pa.list_(pa.int8(), 2))}),
    "string views": lambda: pa.table({"a": pa.array(["a", "bb", None] * N, pa.string_view())}),
    "names empty and alike": lambda: pa.Table.from_arrays([pa.array(range(N))] * 4, names=["", "", "a", "a"]),
    "names of markup": lambda: pa.table({"<b>&\"'": range(N), "\x00\n": range(N), "🎈" * 50: range(N)}),
    "values of markup": lambda: pa.table({"a": ["<script>", "=1+1", "\x00", "\u202e"] * N}),
    "a megabyte in a cell": lambda: pa.table({"a": ["x" * 1_000_000, "y", "z z z z z"] * 8}),
    "unicode": lambda: pa.table({"a": ["é", "e\u0301", "ß", "ẞ", "İ", "\ud7ff"] * N}),
    "numbers as texts": lambda: pa.table({"a": ["1", "2.5", "nan", "inf", "-", "1e400"] * N}),
    "wide": lambda: pd.DataFrame(np.random.default_rng(0).standard_normal((30, 1_100))).add_prefix("c"),
    "wide and constant": lambda: pd.DataFrame(np.ones((20, 1_500))).add_prefix("c"),
    "more classes than rows of each": lambda: pa.table(
        {"x": np.arange(N) ** 1.1, "label": [f"l{i}" for i in range(N)]}
    ),
    "empty chunks": lambda: pa.concat_tables(
        [pa.table({"a": pa.array([], pa.int64())}), pa.table({"a": list(range(N))})]
    ),
    "mixed objects": lambda: pd.DataFrame({"a": [1, "x", None, 2.5, [1], {"k": 1}, b"z", dt.date(2020, 1, 1)] * 10}),
    "categories of pandas": lambda: pd.DataFrame({"a": pd.Categorical(["x", None, "y"] * N), "b": range(3 * N)}),
}


_LARGE = ("wide", "wide and constant", "a megabyte in a cell")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in _LARGE else ()) for name in TABLES]
)
def test_alone(name: str) -> None:
    result = GATE.validate_sync(TABLES[name]())
    consistent(result)
    assert not result.partial, result.errors


@pytest.mark.parametrize("name", ["only nan", "all the same row", "one value in a sea of nulls"])
def test_what_says_nothing_is_never_healthy(name: str) -> None:
    result = GATE.validate_sync(TABLES[name]())
    assert result.verdict != "approved"


@pytest.mark.parametrize(
    "name", ["booleans", "only nan", "largest and smallest doubles", "names empty and alike", "maps"]
)
def test_beside_itself_as_reference(name: str) -> None:
    result = GATE.validate_sync(TABLES[name](), reference=TABLES[name]())
    consistent(result)
    assert not result.partial, result.errors


def test_the_reference_may_be_worse_than_the_table() -> None:
    good = pa.table({"a": np.arange(200.0) ** 1.5, "b": ["x", "y"] * 100})
    for reference in (pa.table({"a": [1.0]}), pa.table({"a": [None, None]}), pa.table({"b": ["x"] * 30})):
        result = GATE.validate_sync(good, reference=reference)
        consistent(result)
        assert result.verdict != "approved", "a reference that says nothing approves nothing"


def test_a_column_of_another_type_than_the_references() -> None:
    numbers = pa.table({"a": np.arange(300.0) ** 1.5, "b": np.random.default_rng(0).standard_normal(300)})
    texts = pa.table({"a": [f"t{i % 7}" for i in range(300)], "b": np.random.default_rng(1).standard_normal(300)})
    result = GATE.validate_sync(texts, reference=numbers)
    consistent(result)
    assert not result.approved_for_training
    assert not GATE.validate_sync(numbers, reference=texts).approved_for_training


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=12), st.dates()
)


@limits(max_examples=6, deadline=None)
@given(
    columns=st.lists(st.lists(VALUES, min_size=25, max_size=25), min_size=1, max_size=4),
    names=st.lists(st.text(max_size=6), min_size=4, max_size=4),
)
def test_any_frame_gives_a_result(columns: list[list[Any]], names: list[str]) -> None:
    frame = pd.concat([pd.Series(column, dtype=object) for column in columns], axis=1)
    frame.columns = pd.Index(names[: len(columns)])
    result = GATE.validate_sync(frame)
    consistent(result)
    assert not result.partial, result.errors


def files(folder: Path) -> dict[str, Path]:
    """Write files that are not what they say."""
    good = pd.DataFrame({"a": np.arange(500.0) ** 1.5, "b": ["x", "y"] * 250})
    good.to_parquet(folder / "good.parquet")
    whole = (folder / "good.parquet").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    contents = {
        "empty.csv": b"",
        "header.csv": b"a,b\n",
        "spaces.csv": b"   \n\n \n",
        "truncated.parquet": whole[: len(whole) // 2],
        "footer.parquet": whole[:-30] + b"\xff" * 22 + whole[-8:],
        "nothing.parquet": b"PAR1",
        "noise.json": b'{"a": [1, 2',
        "noise.h5": b"\x89HDF\r\n\x1a\n" + b"\x00" * 50,
        "noise.xlsx": b"PK\x03\x04" + b"\x00" * 50,
        "noise.csv.gz": gzip.compress(b"a,b\n1,2\n")[:-5],
    }
    paths = {}
    for name, content in contents.items():
        paths[name] = folder / name
        paths[name].write_bytes(content)
    (folder / "bitflip.parquet").write_bytes(bytes(flipped))
    (folder / "folder.csv").mkdir()
    paths["folder.csv"] = folder / "folder.csv"
    return paths


@pytest.mark.slow
def test_files_that_are_no_tables_are_refused_with_a_remedy(tmp_path: Path) -> None:
    for name, path in files(tmp_path).items():
        with pytest.raises(DataError) as caught:
            GATE.validate_sync(path)
        assert str(caught.value), name


@pytest.mark.slow
def test_a_bit_flip_is_told_or_harmless(tmp_path: Path) -> None:
    files(tmp_path)
    with contextlib.suppress(DataError):
        consistent(GATE.validate_sync(tmp_path / "bitflip.parquet"))


def test_wrong_extension_and_other_encodings(tmp_path: Path) -> None:
    frame = pd.DataFrame({"naïve": ["Zoë", "Łukasz", "日本"] * 30, "x": np.arange(90.0) ** 1.5})
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "table.csv")
    frame.head(60).to_csv(tmp_path / "table.parquet", index=False, encoding="utf-16")
    for name, rows in (("table.csv", 90), ("table.parquet", 60)):
        result = GATE.validate_sync(tmp_path / name)
        consistent(result)
        assert result.rows == rows


def test_a_table_that_breaks_while_it_is_read_is_an_error_or_partial() -> None:
    class Breaking:
        """Gives its rows twice, then fails: a file that is cut off while the gate looks at it."""

        def __init__(self, good: int) -> None:
            self.left = good

        def batches(self) -> Any:
            self.left -= 1
            if self.left < 0:
                raise OSError("the disk went away")
            yield pa.RecordBatch.from_pydict({"a": list(np.arange(60.0) ** 1.5), "b": ["x", "y", "z"] * 20})

    with pytest.raises(DataError, match="went away"):
        GATE.validate_sync(Breaking(0))
    with pytest.raises(DataError, match="went away"):
        GATE.validate_sync(Breaking(1))
    late = GATE.validate_sync(Breaking(2))
    assert late.partial
    assert not late.approved_for_training
    assert late.dimensions["pattern_repetition"].score is not None


STAGES = {
    "diversity": "orchestai.validation.validator.measure_diversity",
    "cascade": "orchestai.validation.cascading.train_on_table",
    "collapse": "orchestai.validation.validator.score_dimensions",
    "localize": "orchestai.validation.validator.score_rows",
    "recommend": "orchestai.validation.validator.recommend",
}


@pytest.mark.parametrize(
    "error",
    [
        OSError("disk"),
        pytest.param(MemoryError("no memory left"), marks=pytest.mark.slow),
        pytest.param(AssertionError("wrong"), marks=pytest.mark.slow),
        pytest.param(KeyError("k"), marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_may_fail_without_losing_the_others(
    stage: str, error: Exception, monkeypatch: pytest.MonkeyPatch, small: Any
) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(STAGES[stage], broken)
    table, profile = small
    result = GATE.validate_sync(table, reference=profile)
    assert result.partial
    assert not result.approved_for_training
    assert stage in {found.stage for found in result.errors}
    assert f"stage {stage} failed" in result.reason
    kept = {
        "diversity": result.diversity,
        "cascade": result.cascade,
        "collapse": result.collapse_score,
        "localize": result.localization,
    }
    for name, found in kept.items():
        assert (found is None) == (name == stage), name


@pytest.fixture(scope="module")
def small() -> tuple[pa.Table, Any]:
    def draw(seed: int) -> pa.Table:
        rng = np.random.default_rng(seed)
        a = rng.standard_normal(200)
        return pa.table({"a": a, "b": a + rng.standard_normal(200), "label": np.where(a > 0, "y", "n")})

    return draw(1), GATE.profile(draw(2), label="label")
