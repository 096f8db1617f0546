"""llmperf: real calls to model providers with times, tokens and errors."""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from orchestai.catalog import ImportedCatalog
from orchestai.contracts import TaskCatalog, TaskType, WorkerCatalog, WorkerProfile
from orchestai.errors import DataError
from orchestai.importers.sink import ImportReport, ImportSink, RejectedRecordError
from orchestai.importers.sources import iter_json_array, read_json

HOLDS = "raw_data__individual__<provider>_<size>.json and, if known, raw_data__summary__<provider>_<size>.json"
_NAME = re.compile(r"raw_data__individual__(?P<stem>[\w.-]+?)\.json(\.zst)?")
_TASK = "fixed_length_generation"


class _Call(NamedTuple):
    completed: bool
    error: str | None
    latency_ms: float | None
    ttft_ms: float | None
    input_tokens: int
    output_tokens: int


def import_llmperf(folder: Path, out: Path) -> ImportReport:
    """Import measured calls; each provider's model is a worker with its median time.

    A call that the provider refused has no time; one that ended early (code -100) has, but did not complete
    what was asked. The data set holds neither prompts, hence no plans, nor prices.

    Args:
        folder: Holds one file of individual calls a provider and model size.
        out: Folder for catalog.yml and outcomes.parquet.

    Raises:
        DataError: A file is missing or not what it should be.
        StorageError: `out` cannot be written.
    """
    files = _files(folder)
    workers = []
    with ImportSink("llmperf", out) as sink:
        for stem, path in files.items():
            name = stem.replace("_", "-")
            times: list[float] = []
            for position, record in enumerate(iter_json_array(path)):
                try:
                    call = _call(record)
                    sink.add_outcome(f"{stem}-{position:04d}", name, _TASK, tokens_estimated=False, **call._asdict())
                except RejectedRecordError as refusal:
                    sink.reject(str(refusal), file=path, position=position, record=record)
                    continue
                if call.completed and call.latency_ms is not None:
                    times.append(call.latency_ms)
            workers.append(_worker(folder, stem, name, times))
        task = TaskType(name=_TASK, description="Write a passage of a fixed number of tokens.", max_output_tokens=150)
        return sink.finish(
            ImportedCatalog(
                source="llmperf",
                tasks=TaskCatalog(types=(task,)),
                workers=WorkerCatalog(workers=tuple(workers)),
            )
        )


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder.", remedy=f"Give a folder with {HOLDS}.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match:
            found.setdefault(match["stem"], path)
    if not found:
        raise DataError(f"{folder} has no raw_data__individual__*.json.", remedy=f"The folder should hold {HOLDS}.")
    return found


def _call(record: object) -> _Call:
    if not isinstance(record, dict):
        raise RejectedRecordError("not an object")
    code = record.get("error_code")
    latency, ttft = (_number(record, key) for key in ("end_to_end_latency_s", "ttft_s"))
    tokens_in, tokens_out = (_number(record, key) for key in ("number_input_tokens", "number_output_tokens"))
    error = None if code is None else f"{code}: {record.get('error_msg') or 'no message'}"[:200]
    return _Call(
        completed=code is None,
        error=error,
        latency_ms=latency * 1000 if latency > 0 else None,
        ttft_ms=ttft * 1000 if ttft > 0 else None,
        input_tokens=int(tokens_in),
        # A refused call is recorded with one token out, which nobody received.
        output_tokens=int(tokens_out) if latency > 0 else 0,
    )


def _number(record: dict[str, Any], key: str) -> float:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise RejectedRecordError(f"not a number of seconds or tokens: {key}")
    return float(value)


def _worker(folder: Path, stem: str, name: str, times: list[float]) -> WorkerProfile:
    model = name
    for candidate in (
        folder / f"raw_data__summary__{stem}.json",
        folder / f"raw_data__summary__{stem}.json.zst",
    ):
        if candidate.is_file():
            summary = read_json(candidate)
            model = str(summary.get("model") or name) if isinstance(summary, dict) else name
            break
    return WorkerProfile(
        name=name,
        model=model,
        description=f"{model} as served by {name.split('-')[0]}. The data set does not tell its price.",
        typical_latency_ms=round(statistics.median(times), 1) if times else 60_000.0,
    )
