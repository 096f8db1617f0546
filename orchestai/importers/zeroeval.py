"""ZeroEval: 30 models on the same prompts, each answer graded right or wrong."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from orchestai.catalog import ImportedCatalog
from orchestai.catalog.estimate import tokens_of
from orchestai.contracts import TaskCatalog, TaskType, WorkerCatalog, WorkerProfile
from orchestai.errors import DataError
from orchestai.importers.sink import ImportReport, ImportSink, RejectedRecordError
from orchestai.importers.sources import locate, open_bytes, read_json

HOLDS = "graded.csv and one prompts_<family>.json a family (each plain or .zst)"
_COLUMNS = ("model", "family", "prompt_key", "correct", "output_chars", "prompt_chars")
_FAMILIES = {
    "gsm": "Solve a word problem of primary school mathematics step by step and give the number.",
    "crux": "Predict what a short Python function returns for a given input.",
}


def import_zeroeval(folder: Path, out: Path) -> ImportReport:
    """Import graded answers of many models.

    Tokens are estimated from characters and marked so; the data set knows neither prices nor times.

    Args:
        folder: Holds graded.csv and prompts_<family>.json.
        out: Folder for catalog.yml, plans.parquet (one node a prompt) and outcomes.parquet.

    Raises:
        DataError: A file is missing or not what it should be.
        StorageError: `out` cannot be written.
    """
    graded = locate(folder, "graded.csv", holds=HOLDS)
    prompts: dict[str, set[str]] = {}
    models: dict[str, None] = {}
    with ImportSink("zeroeval", out) as sink:
        for path in _prompt_files(folder):
            family = path.name.removeprefix("prompts_").split(".", 1)[0]
            prompts[family] = _take_prompts(sink, path, family)
        try:
            with open_bytes(graded) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as text:
                reader = csv.DictReader(text)
                missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
                if missing:
                    raise DataError(f"{graded} lacks the columns {', '.join(missing)}.")
                for row in reader:
                    try:
                        _take_outcome(sink, row, prompts, folder)
                        models[row["model"]] = None
                    except RejectedRecordError as refusal:
                        sink.reject(str(refusal), file=graded, position=reader.line_num, record=row)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{graded} is not a CSV file in UTF-8: {error}.") from error
        return sink.finish(_catalog(list(prompts), list(models)))


def _prompt_files(folder: Path) -> list[Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("prompts_*.json")) + sorted(folder.glob("prompts_*.json.zst")):
        found.setdefault(path.name.removesuffix(".zst"), path)
    if not found:
        raise DataError(f"{folder} has no prompts_<family>.json.", remedy=f"The folder should hold {HOLDS}.")
    return list(found.values())


def _take_prompts(sink: ImportSink, path: Path, family: str) -> set[str]:
    body = read_json(path)
    if not isinstance(body, dict):
        raise DataError(f"{path} must hold an object: prompt key to prompt.")
    taken = set()
    for position, (key, value) in enumerate(body.items()):
        prompt = value[0] if isinstance(value, list) and len(value) == 1 else value
        try:
            if not isinstance(prompt, str):
                raise RejectedRecordError("prompt is not text")
            sink.add_plan(f"{family}:{key}", prompt, [family], [])
            taken.add(f"{family}:{key}")
        except RejectedRecordError as refusal:
            sink.reject(str(refusal), file=path, position=position, record={key: value})
    return taken


def _take_outcome(sink: ImportSink, row: dict[str, str | None], prompts: dict[str, set[str]], folder: Path) -> None:
    model, family, key = (row[name] or "" for name in ("model", "family", "prompt_key"))
    if not model or not family or not key:
        raise RejectedRecordError("empty field")
    if family not in prompts:
        raise DataError(
            f"graded.csv has the family {family!r}, but {folder} has no prompts_{family}.json.",
            remedy=f"The folder should hold {HOLDS}.",
        )
    if key not in prompts[family]:
        raise RejectedRecordError("answer to a prompt that is not in the prompts file")
    if row["correct"] not in ("0", "1"):
        raise RejectedRecordError(f"`correct` is neither 0 nor 1: {row['correct']}")
    prompt_chars, output_chars = (_count(row[name], name) for name in ("prompt_chars", "output_chars"))
    sink.add_outcome(
        key,
        model,
        family,
        score=float(row["correct"]),
        correct=row["correct"] == "1",
        prompt_chars=prompt_chars,
        output_chars=output_chars,
        input_tokens=tokens_of(prompt_chars),
        output_tokens=tokens_of(output_chars),
        tokens_estimated=True,
    )


def _count(value: str | None, name: str) -> int:
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 15:
        raise RejectedRecordError(f"`{name}` is not a count: {value}")
    return int(value)


def _catalog(families: list[str], models: list[str]) -> ImportedCatalog:
    types = [
        TaskType(name=family, description=_FAMILIES.get(family, f"Answer a prompt of the family {family}."))
        for family in families
    ]
    workers = [
        WorkerProfile(name=model, model=model, description=f"{model}. The data set does not tell its price.")
        for model in models
    ]
    return ImportedCatalog(
        source="zeroeval",
        tasks=TaskCatalog(types=tuple(types)),
        workers=WorkerCatalog(workers=tuple(workers)) if workers else None,
    )
