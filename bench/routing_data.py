"""Outcome tables of the routing benchmark: read, priced, split so that no question stands on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import yaml

from orchestai.catalog import read_catalog
from orchestai.catalog.estimate import CHARS_PER_TOKEN
from orchestai.contracts import WorkerCatalog
from orchestai.embeddings.protocol import TextEncoder
from orchestai.errors import DataError
from orchestai.importers import import_llmrouter, import_zeroeval
from orchestai.importers.splits import normalized, split_by_hash
from orchestai.routing.features import lexical_matrix
from orchestai.routing.outcomes import OutcomeTable, table_of_import
from orchestai.training.router import RouterData

Array = npt.NDArray[np.float64]

OUTPUT_TOKENS = 200
"""Length of an answer where the data have none (LLMRouter): a constant, so that only prices and questions count."""

_PRICES = Path(__file__).with_name("zeroeval_prices.yml")


class Source(NamedTuple):
    """One folder.

    Attributes:
        kind: `llmrouter` or `zeroeval`.
        table: Outcomes with the dollars that each call cost.
        prices: [W, 2] dollars a million tokens, in and out; NaN where no price is known.
        descriptions: What the workers say of themselves.
        notes: What was left out, and why.
    """

    kind: str
    table: OutcomeTable
    prices: Array
    descriptions: tuple[str, ...]
    notes: dict[str, int]


class Sides(NamedTuple):
    """What is learned from and what is measured on; no question is in both."""

    train: OutcomeTable
    test: OutcomeTable
    dropped: int


def read_source(folder: Path, scratch: Path) -> Source:
    """Read a folder of either format.

    Raises:
        DataError: It is of neither.
    """
    graded = any((folder / name).is_file() for name in ("graded.csv", "graded.csv.zst"))
    kind, read = ("zeroeval", import_zeroeval) if graded else ("llmrouter", import_llmrouter)
    report = read(folder, scratch)
    table = table_of_import(scratch)
    workers = read_catalog(scratch).workers
    if workers is None:
        raise DataError(f"{folder} names no workers.")
    notes = {"rejected": report.rejected}
    described = tuple(workers[name].description for name in table.workers)
    prices = _listed(table.workers) if graded else _catalogued(workers, table.workers)
    unpriced = [place for place, price in enumerate(prices) if np.isnan(price).any()]
    notes["workers_without_price"] = len(unpriced)
    kept = [place for place in range(len(table.workers)) if place not in unpriced]
    if not kept:
        raise DataError(f"{folder}: no worker has a known price.", remedy=f"Add prices to {_PRICES.name}.")
    table = table.columns([table.workers[place] for place in kept])
    prices = prices[kept]
    output = np.where(np.isnan(table.output_tokens), OUTPUT_TOKENS, table.output_tokens)
    usd = (input_tokens(table)[:, None] * prices[:, 0] + output * prices[:, 1]) / 1e6
    return Source(kind, table.with_costs(usd), prices, tuple(described[place] for place in kept), notes)


def input_tokens(table: OutcomeTable) -> Array:
    """Return [N] estimated tokens of the questions."""
    return np.array([len(text) / CHARS_PER_TOKEN for text in table.texts])


def question_key(text: str) -> str:
    """Identity of a question: its text without case, spacing and marks at the ends."""
    return normalized(text).strip(" .?!:;,\"'")


def split_one(table: OutcomeTable) -> Sides:
    """Split by the hash of the question: 80 % to learn from (folds inside it validate), 20 % to measure on."""
    test = np.array([split_by_hash(_digest(text)) == "test" for text in table.texts])
    return split_two(table.take(~test), table.take(test))


def split_two(train: OutcomeTable, test: OutcomeTable) -> Sides:
    """Drop repeated questions within the training side, and from the test side all that the training side has.

    Raises:
        DataError: A side is empty.
    """
    seen: set[str] = set()
    kept_train = [place for place, text in enumerate(train.texts) if _new(text, seen)]
    kept_test = [place for place, text in enumerate(test.texts) if _new(text, seen)]
    if not kept_train or not kept_test:
        raise DataError("A side of the split has no question of its own.", remedy="Give other folders, or more data.")
    dropped = len(train) + len(test) - len(kept_train) - len(kept_test)
    return Sides(train.take(kept_train), test.take(kept_test), dropped)


def aligned(table: OutcomeTable, workers: Sequence[str]) -> OutcomeTable:
    """Return the table with exactly these columns; one that it lacks is a worker that was never tried.

    Raises:
        DataError: It has none of them.
    """
    known = [name for name in workers if name in table.workers]
    if not known:
        raise DataError("Training and test folder have no worker in common.")
    some = table.columns(known)
    places = [list(workers).index(name) for name in known]

    def spread(values: Array) -> Array:
        whole = np.full((len(table), len(workers)), np.nan)
        whole[:, places] = values
        return whole

    return OutcomeTable(
        ids=some.ids,
        texts=some.texts,
        families=some.families,
        workers=tuple(workers),
        scores=spread(some.scores),
        cost_usd=spread(some.cost_usd),
        latency_ms=spread(some.latency_ms),
        output_tokens=spread(some.output_tokens),
    )


def features(
    table: OutcomeTable, prices: Array, descriptions: Array, encoder: TextEncoder, cache: Path | None
) -> RouterData:
    """Embed and describe the questions, and price the calls as they can be priced before they are made.

    The length of an answer is not known then: it is the mean of the worker in the table, or the constant.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        tried = (~np.isnan(table.output_tokens)).sum(0)
        length = np.where(tried > 0, np.nansum(table.output_tokens, 0) / np.maximum(tried, 1), OUTPUT_TOKENS)
    expected = (input_tokens(table)[:, None] * prices[:, 0] + length * prices[:, 1]) / 1e6
    return RouterData(table, embed(table.texts, encoder, cache), lexical_matrix(table.texts), descriptions, expected)


def embed(texts: Sequence[str], encoder: TextEncoder, cache: Path | None) -> Array:
    """Embed texts, [N, H]; kept in `cache` by a hash of all of them."""
    digest = hashlib.sha256(encoder.identity.encode())
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    path = cache / f"pooled-{digest.hexdigest()[:24]}.npy" if cache else None
    if path is not None and path.is_file():
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    found = np.concatenate([encoder.encode(list(texts[start : start + 256])) for start in range(0, len(texts), 256)])
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, found, allow_pickle=False)
    return np.asarray(found, dtype=np.float64)


def _new(text: str, seen: set[str]) -> bool:
    key = question_key(text)
    if key in seen:
        return False
    seen.add(key)
    return True


def _digest(text: str) -> str:
    return hashlib.sha256(question_key(text).encode("utf-8", "surrogatepass")).hexdigest()


def _catalogued(workers: WorkerCatalog, names: Sequence[str]) -> Array:
    return np.array([[workers[name].input_usd_per_mtok, workers[name].output_usd_per_mtok] for name in names])


def _listed(names: Sequence[str]) -> Array:
    listed = yaml.safe_load(_PRICES.read_text(encoding="utf-8"))["prices"]
    return np.array([(listed.get(name) or {}).get("usd") or [np.nan, np.nan] for name in names], dtype=np.float64)
