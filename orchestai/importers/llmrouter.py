"""LLMRouter: each query answered by nine models, each answer scored; prices in the list of candidates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestai.catalog import ImportedCatalog
from orchestai.contracts import TaskCatalog, TaskType, WorkerCatalog, WorkerProfile
from orchestai.errors import DataError
from orchestai.importers.sink import ImportReport, ImportSink, RejectedRecordError
from orchestai.importers.sources import iter_json_array, iter_lines, locate, read_json

_SCORES = ("train.json", "test.json")
_CANDIDATES = "*default_llm.json"
_QUERIES = "*query*.jsonl"
HOLDS = f"train.json or test.json, {_CANDIDATES} and, if known, {_QUERIES} (each plain or .zst)"
_UNKNOWN = "unknown"
_FAMILIES = {
    "agentverse-logicgrid": "Solve a logic puzzle about who lives where from a list of clues.",
    "agentverse-mgsm": "Solve a word problem of primary school mathematics in one of several languages.",
    "arc_challenge": "Choose the right answer to a hard school science question.",
    "commongen": "Write one plain sentence that uses all of the given words.",
    "commonsense_qa": "Choose the answer that everyday common sense suggests.",
    "gpqa": "Answer a graduate-level question of physics, chemistry or biology.",
    "gsm8k": "Solve a word problem of primary school mathematics step by step.",
    "human_eval": "Complete a Python function from its signature and docstring.",
    "math": "Solve a competition mathematics problem and give the exact result.",
    "mbpp": "Write a short Python function that passes the given assertions.",
    "mmlu": "Choose the right answer to an exam question of any academic subject.",
    "natural_qa": "Answer a factual question that somebody typed into a search engine.",
    "openbook_qa": "Choose the right answer to an elementary science question.",
    "trivia_qa": "Answer a trivia question with a short fact.",
    _UNKNOWN: "Answer a question whose family is not known.",
}


def import_llmrouter(folder: Path, out: Path) -> ImportReport:
    """Import scored answers of the LLMRouter candidates.

    Args:
        folder: Holds train.json or test.json or both (scores), the candidates (prices) and, where families are
            known, query files.
        out: Folder for catalog.yml, plans.parquet (one node a query) and outcomes.parquet.

    Raises:
        DataError: A file is missing or not what it should be.
        StorageError: `out` cannot be written.
    """
    scores = [path for name in _SCORES if (path := _first(folder, name))] or [locate(folder, _SCORES[0], holds=HOLDS)]
    candidates = _first(folder, _CANDIDATES)
    if candidates is None:
        raise DataError(f"{folder} has no {_CANDIDATES}.", remedy=f"The folder should hold {HOLDS}.")
    workers = _workers(candidates)
    with ImportSink("llmrouter", out) as sink:
        families: dict[str, str] = {}
        for queries in _matches(folder, _QUERIES):
            families |= _families(queries, sink)
        used: dict[str, None] = {}
        for path, position, record in _records(scores):
            try:
                question, answers = _check(record, workers)
                query_id = query_id_of(question)
                family = families.get(query_id, _UNKNOWN)
                sink.add_plan(query_id, question, [family], [])
                used[family] = None
                for model, score in answers.items():
                    sink.add_outcome(query_id, model, family, score=score, prompt_chars=len(question))
            except RejectedRecordError as refusal:
                sink.reject(str(refusal), file=path, position=position, record=record)
        types = [
            TaskType(name=name, description=_FAMILIES.get(name, f"Answer a question of the family {name}."))
            for name in sorted(used) or [_UNKNOWN]
        ]
        return sink.finish(ImportedCatalog(source="llmrouter", tasks=TaskCatalog(types=tuple(types)), workers=workers))


def _matches(folder: Path, pattern: str) -> list[Path]:
    """Files of this name, plain or compressed, a plain one before its compressed twin, each name once."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob(pattern)) + sorted(folder.glob(f"{pattern}.zst")):
        found.setdefault(path.name.removesuffix(".zst"), path)
    return list(found.values())


def _first(folder: Path, pattern: str) -> Path | None:
    return next(iter(_matches(folder, pattern)), None)


def _records(paths: list[Path]) -> Iterator[tuple[Path, int, Any]]:
    for path in paths:
        for position, record in enumerate(iter_json_array(path)):
            yield path, position, record


def query_id_of(question: str) -> str:
    """Identity of a query: the data set gives none, so it is made from the text."""
    return hashlib.sha256(question.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _families(path: Path, sink: ImportSink) -> dict[str, str]:
    found = {}
    for line in iter_lines(path):
        try:
            record = json.loads(line.body)
            if not isinstance(record, dict):
                raise ValueError("not an object")
            question, family = record.get("query"), record.get("task_name")
            if not isinstance(question, str) or not isinstance(family, str) or not family:
                raise ValueError("`query` or `task_name` is missing")
        except (ValueError, RecursionError) as error:
            sink.reject(f"query: {error}", file=path, position=line.number, record=line.body)
            continue
        found[query_id_of(question)] = family
    return found


def _check(record: object, workers: WorkerCatalog) -> tuple[str, dict[str, float]]:
    if not isinstance(record, dict):
        raise RejectedRecordError("not an object")
    question, scores = record.get("question"), record.get("scores")
    if not isinstance(question, str) or not question.strip():
        raise RejectedRecordError("field missing or empty: question")
    if not isinstance(scores, dict) or not scores:
        raise RejectedRecordError("field missing or empty: scores")
    for model, score in scores.items():
        if model not in workers.names:
            raise RejectedRecordError(f"model without a price: {model}")
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise RejectedRecordError(f"score not within 0..1: {score}")
    return question, {model: float(score) for model, score in scores.items()}


def _workers(path: Path) -> WorkerCatalog:
    body = read_json(path)
    if not isinstance(body, dict) or not body:
        raise DataError(f"{path} must hold an object: name of a model to its facts.")
    return WorkerCatalog(workers=tuple(_worker(name, facts, path) for name, facts in body.items()))


def _worker(name: str, facts: Any, path: Path) -> WorkerProfile:
    facts = facts if isinstance(facts, dict) else {}
    return WorkerProfile(
        name=name,
        model=str(facts.get("model") or name),
        description=str(facts.get("feature") or name),
        input_usd_per_mtok=_price(name, facts, "input_price", path),
        output_usd_per_mtok=_price(name, facts, "output_price", path),
    )


def _price(name: str, facts: dict[str, Any], key: str, path: Path) -> float:
    value = facts.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise DataError(
            f"{path}: `{key}` of {name!r} must be dollars a million tokens, got {value!r}.",
            remedy=f"The folder should hold {HOLDS}.",
        )
    return float(value)
