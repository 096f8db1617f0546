"""Reads collections of attacks, harmless prompts and marked personal data, by format and not by file name.

Known formats: Parquet, CSV, JSON and JSON lines with a text and a label; lists of harmless prompts that contain the
words of attacks (NotInject); attacks by category and contexts to put them into (BIPIA); templates with a place for
a question (GPTFuzzer); sentences with marked spans (presidio-research). Each may be compressed (.zst).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from orchestai.errors import DataError
from orchestai.importers.sources import open_bytes

TEXTS = Path(__file__).parent / "reflex_texts"
"""Texts written for this project: harmless ones with attack words, attacks, orders inside documents, documents."""

_PLACE = "[INSERT PROMPT HERE]"
_TEXT_KEYS = ("text", "prompt", "instruction", "input", "query", "question")
_LABEL_KEYS = ("label", "is_injection", "injection", "target", "class")
_HARMLESS = {"0", "false", "benign", "safe", "legitimate", "normal", "no", "negative"}


class Sample(NamedTuple):
    """A text and where it comes from."""

    text: str
    source: str


@dataclass
class Collection:
    """What a folder holds.

    Attributes:
        attacks: Texts of users that are attacks.
        ordinary: Harmless texts.
        tricky: Harmless texts that contain the words of attacks.
        embedded: Orders to be hidden in material; source `code` or `text`.
        contexts: Material; source `code` or `text`.
    """

    attacks: list[Sample] = field(default_factory=list)
    ordinary: list[Sample] = field(default_factory=list)
    tricky: list[Sample] = field(default_factory=list)
    embedded: list[Sample] = field(default_factory=list)
    contexts: list[Sample] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Return how many texts of each kind there are."""
        return {name: len(getattr(self, name)) for name in ("attacks", "ordinary", "tricky", "embedded", "contexts")}


def share_of(key: str) -> float:
    """Return a number in [0, 1) that depends on `key` alone."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "replace")).digest()[:6], "big") / 2**48


def digest_of(text: str) -> int:
    """Return 63 bits that stand for `text`."""
    return int.from_bytes(hashlib.sha256(" ".join(text.split()).encode("utf-8", "replace")).digest()[:8], "big") >> 1


def own_lines(name: str) -> list[str]:
    """Return the lines of one of this project's own lists."""
    lines = (TEXTS / name).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def read_injections(folder: Path) -> Collection:
    """Read all files of `folder` whose format is known.

    Raises:
        DataError: It is no folder, or no file of it is known.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder.", remedy="Give a folder with attacks and harmless prompts.")
    found = Collection()
    templates: list[Sample] = []
    questions: list[str] = []
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        value = _read(path)
        if isinstance(value, dict) and value and all(isinstance(each, list) for each in value.values()):
            texts = [text for each in value.values() for text in each if isinstance(text, str)]
            kind = "code" if sum("```" in text for text in texts) * 2 > len(texts) else "text"
            found.embedded += [Sample(text, kind) for text in texts]
            continue
        rows = [row if isinstance(row, dict) else {"text": row} for row in _rows(value)]
        prompts = [text for row in rows if (text := _text_of(row))]
        if prompts and sum(_PLACE in text for text in prompts) * 2 > len(prompts):
            templates += [Sample(text, "jailbreak") for text in prompts]
        elif path.name.removesuffix(".zst").endswith(".csv") and not any(_label_of(row) for row in rows):
            questions += prompts
        else:
            _sort_rows(rows, found)
    fill = questions or ["How do I open a lock without its key?"]
    found.attacks += [
        Sample(each.text.replace(_PLACE, fill[index % len(fill)]), each.source) for index, each in enumerate(templates)
    ]
    if not any(found.counts().values()):
        raise DataError(
            f"{folder} holds no file in a known format.",
            remedy="Known: Parquet, CSV, JSON and JSON lines with `text` or `prompt`, and `label`.",
        )
    return found


def _sort_rows(rows: Iterable[dict[str, Any]], found: Collection) -> None:
    for row in rows:
        context, text, label = row.get("context"), _text_of(row), _label_of(row)
        if label is not None and text:
            (found.ordinary if label.casefold() in _HARMLESS else found.attacks).append(Sample(text, "labelled"))
        elif context:
            body = "\n".join(map(str, context)) if isinstance(context, list) else str(context)
            found.contexts.append(Sample(body, "code" if "code" in row else "text"))
        elif text:
            found.tricky.append(Sample(text, "tricky"))


def _text_of(row: dict[str, Any]) -> str | None:
    return next((row[key] for key in _TEXT_KEYS if isinstance(row.get(key), str) and row[key].strip()), None)


def _label_of(row: dict[str, Any]) -> str | None:
    return next((str(row[key]) for key in _LABEL_KEYS if row.get(key) is not None), None)


def _rows(value: Any) -> list[Any]:
    if isinstance(value, dict):
        lists = [each for each in value.values() if isinstance(each, list)]
        return lists[0] if len(lists) == 1 else [value]
    return [row for row in value if isinstance(row, dict | str)] if isinstance(value, list) else []


def _read(path: Path) -> Any:
    name = path.name.removesuffix(".zst")
    suffix = Path(name).suffix.lower()
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_table(path).to_pylist()
    if suffix not in (".json", ".jsonl", ".csv", ".tsv", ".txt"):
        return None
    with open_bytes(path) as stream:
        body = stream.read().decode("utf-8", "replace")
    try:
        if suffix == ".jsonl":
            return [json.loads(line) for line in body.splitlines() if line.strip()]
        if suffix == ".json":
            return _json(body)
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error
    if suffix == ".txt":
        return None
    csv.field_size_limit(1 << 24)
    return list(csv.DictReader(io.StringIO(body), delimiter="\t" if suffix == ".tsv" else ","))


def _json(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return [json.loads(line) for line in body.splitlines() if line.strip()]


class Span(NamedTuple):
    """A marked piece."""

    kind: str
    start: int
    end: int


class Sentence(NamedTuple):
    """A text with marked personal data."""

    text: str
    spans: tuple[Span, ...]
    group: str


def read_sentences(folder: Path) -> list[Sentence]:
    """Read all sentences with marked spans.

    Raises:
        DataError: It is no folder, or holds none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder.", remedy="Give a folder with sentences and their marked spans.")
    sentences = [
        sentence
        for path in sorted(each for each in folder.rglob("*") if each.is_file())
        for sentence in _sentences(_read(path))
    ]
    if not sentences:
        raise DataError(
            f"{folder} holds no sentence with `full_text` and `spans`.",
            remedy="The format is that of presidio-research: entity_type, start_position, end_position.",
        )
    return sentences


def _sentences(value: Any) -> Iterator[Sentence]:
    for row in _rows(value):
        text = row.get("full_text") or row.get("text") if isinstance(row, dict) else None
        if not isinstance(text, str) or not isinstance(row.get("spans"), list):
            continue
        spans = tuple(
            Span(
                str(span.get("entity_type") or span.get("label")),
                int(span.get("start_position", span.get("start", 0))),
                int(span.get("end_position", span.get("end", 0))),
            )
            for span in row["spans"]
        )
        yield Sentence(text, spans, str(row.get("template_id", text)))
