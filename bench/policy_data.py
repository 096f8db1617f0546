"""What the benchmark of Phase 2 composes its workflows from: real outcomes, real plans, real times."""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.routing_data import OUTPUT_TOKENS
from orchestai.importers import import_asynchow, import_llmperf, import_ultratool, read_outcomes, read_plans
from orchestai.importers.starter import read_starter
from orchestai.routing.outcomes import OutcomeTable
from orchestai.training.composition import Questions, Shape
from orchestai.training.router import RouterData
from orchestai.training.workflows import Outcomes

Array = npt.NDArray[np.float64]

MOST_SUBTASKS = 8
"""Larger plans are left out: with real success rates hardly one of them would succeed whole."""

_STARTER = Path(__file__).resolve().parent.parent / "examples" / "starter"
_SIZE = re.compile(r"(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z])", re.IGNORECASE)
_UNSIZED = 70.0


class Endpoint(NamedTuple):
    """Measured calls of one provider's model."""

    name: str
    size_b: float
    first_ms: Array  # (C,) to the first token
    token_ms: Array  # (C,) for each further one


ASSUMED = [
    Endpoint(f"assumed-{size}b", float(size), np.array([500.0]), np.array([8.0 + size / 5])) for size in (7, 13, 70)
]
"""Where no measured calls are given: half a second, then tokens at a pace that falls with the size."""


def read_shapes(folders: list[Path]) -> tuple[list[Shape], dict[str, int]]:
    """Return the graphs of plans: those of the folders (UltraTool or AsyncHow) and of the starter corpus."""
    found = [record.to_example().dependencies for record in read_starter(_STARTER)]
    counts = {"starter": len(found)}
    for folder in folders:
        read = (
            import_asynchow
            if any((folder / f"plans.json{end}").is_file() for end in ("", ".zst"))
            else import_ultratool
        )
        with tempfile.TemporaryDirectory() as scratch:
            read(folder, Path(scratch))
            own = [plan.dependencies for plan in read_plans(Path(scratch))]
        counts[folder.name] = len(own)
        found.extend(own)
    return [shape for shape in found if 2 <= len(shape) <= MOST_SUBTASKS], counts


def read_endpoints(folder: Path) -> list[Endpoint]:
    """Return the endpoints that llmperf measured."""
    with tempfile.TemporaryDirectory() as scratch:
        import_llmperf(folder, Path(scratch))
        rows = read_outcomes(Path(scratch)).to_pylist()
    calls: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["completed"] and row["latency_ms"] and row["ttft_ms"] and row["output_tokens"] > 1:
            rest = max(row["latency_ms"] - row["ttft_ms"], 0.0) / (row["output_tokens"] - 1)
            calls.setdefault(row["worker"], []).append((row["ttft_ms"], rest))
    return [Endpoint(name, _size(name), *np.array(own).T) for name, own in sorted(calls.items()) if len(own) >= 20]


def endpoint_of(worker: str, endpoints: list[Endpoint]) -> Endpoint:
    """Give a worker the endpoint of the nearest size; of several, one by the hash of its name."""
    size = _size(worker)
    off = [abs(np.log(each.size_b / size)) for each in endpoints]
    near = [each for each, distance in zip(endpoints, off, strict=True) if distance <= min(off) + 1e-9]
    return near[_hash(worker) % len(near)]


def with_times(table: OutcomeTable, endpoints: list[Endpoint]) -> tuple[OutcomeTable, Array]:
    """Give every outcome the time of a real call, stretched to its answer's length; also the time expected of it.

    Which call it is is settled by a hash, so a table has the same times in every session. What is expected is known
    before the call: the endpoint's median pace, and the worker's mean length.

    Returns:
        The table, and [N, W] expected milliseconds.
    """
    tokens = np.where(np.isnan(table.output_tokens), OUTPUT_TOKENS, table.output_tokens)
    tried = ~np.isnan(table.scores)
    latency, expected = np.full(table.scores.shape, np.nan), np.zeros(table.scores.shape)
    for column, worker in enumerate(table.workers):
        endpoint = endpoint_of(worker, endpoints)
        calls = np.array([_hash(f"{worker}\0{name}") % len(endpoint.first_ms) for name in table.ids])
        own = tokens[:, column]
        latency[:, column] = endpoint.first_ms[calls] + own * endpoint.token_ms[calls]
        typical = float(own[tried[:, column]].mean()) if tried[:, column].any() else float(OUTPUT_TOKENS)
        expected[:, column] = np.median(endpoint.first_ms) + typical * np.median(endpoint.token_ms)
    timed = OutcomeTable(
        ids=table.ids,
        texts=table.texts,
        families=table.families,
        workers=table.workers,
        scores=table.scores,
        cost_usd=table.cost_usd,
        latency_ms=latency,
        output_tokens=table.output_tokens,
    )
    return timed, expected


def questions(data: RouterData, success: Array, expected_ms: Array) -> Questions:
    """Put what is known and what is true of each question side by side.

    Args:
        data: Questions with features and prices.
        success: [N, W] expected by a router that was not trained on them.
        expected_ms: [N, W].
    """
    table = data.table
    usable = ~np.isnan(table.scores) & np.isfinite(data.expected_usd)
    actual = Outcomes(
        success=np.where(usable, table.scores, 0.0),
        cost_usd=np.where(usable, table.cost_usd, 0.0),
        latency_ms=np.where(usable, table.latency_ms, 0.0),
    )
    expected = Outcomes(
        success=np.where(usable, np.clip(success, 1e-3, 1 - 1e-3), 0.0),
        cost_usd=np.where(usable, data.expected_usd, 0.0),
        latency_ms=expected_ms,
    )
    return Questions(data.embeddings.astype(np.float32), usable, expected, actual)


def _size(name: str) -> float:
    """Billions of parameters, by the name; experts multiply."""
    match = _SIZE.search(name)
    return float(match[1] or 1) * float(match[2]) if match else _UNSIZED


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
