"""Files dropped into a watched folder: which are complete, and what the gate says of one."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from orchestai.app.json_files import write_json
from orchestai.config import InboxConfig
from orchestai.errors import DataError, StorageError
from orchestai.validation.result import ValidationResult
from orchestai.validation.settings import GateSettings

VERDICT = ".verdict"
UNREADABLE = "unreadable"
_UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".swp", "~")


class DroppedFile(NamedTuple):
    """A complete file."""

    path: Path
    facts: str
    content: str


class Verdict(NamedTuple):
    """What came of one file."""

    verdict: str
    reason: str
    path: Path
    json: Path
    html: Path | None
    result: ValidationResult | None


def complete_files(
    inbox: InboxConfig, seen: Mapping[str, Mapping[str, str]], *, now: float | None = None
) -> tuple[list[DroppedFile], dict[str, dict[str, str]]]:
    """Return files that are complete and new or changed, and what to remember until the next look.

    A file is complete when neither its size nor its time has changed since the last look, and its last change lies
    `settle_seconds` back: one that grows, is copied or downloaded is waited for. Content is hashed only then.

    Args:
        inbox: The folder.
        seen: What the last look returned, by name: `facts`, and `content` once it was reported.
        now: Seconds since the epoch; for tests.

    Raises:
        StorageError: The folder cannot be read.
    """
    moment = time.time() if now is None else now
    found: list[DroppedFile] = []
    memory: dict[str, dict[str, str]] = {}
    for path in _candidates(inbox):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        facts = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
        known = dict(seen.get(path.name, {}))
        if known.get("facts") == facts and "content" in known:
            memory[path.name] = known
            continue
        before = known.get("content", known.get("before"))
        if known.get("facts") != facts or moment - stat.st_mtime < inbox.settle_seconds:
            memory[path.name] = {"facts": facts} | ({"before": before} if before is not None else {})
            continue
        try:
            content = _hash(path)
        except OSError:
            memory[path.name] = known
            continue
        memory[path.name] = {"facts": facts, "content": content}
        if before != content:
            found.append(DroppedFile(path, facts, content))
    return found, memory


def judge_file(
    path: Path, inbox: InboxConfig, *, cache_folder: Path | None = None, content: str | None = None
) -> Verdict:
    """Judge one file and write the verdict as JSON and as a page; the file is moved only if that is configured.

    Args:
        path: The file.
        inbox: What it is compared with and where the verdict goes.
        cache_folder: Where results are kept by content.
        content: Hash that the file had when it was seen; another one by now means that it is being written.

    Raises:
        DataError: There is no such file, or it has changed since it was seen.
        ConfigError: The gate's settings are wrong.
        StorageError: The disk refuses the verdict.
    """
    from orchestai.validation.gate import DatasetValidator

    if not path.is_file() or path.is_symlink():
        raise DataError(f"There is no file {path}.", remedy="It was taken away; drop it again.")
    if content is not None and _hash(path) != content:
        raise DataError(f"{path} has changed since it was seen.", remedy="Nothing to do: it is judged when it is done.")
    settings = GateSettings.from_file(inbox.gate) if inbox.gate is not None else GateSettings()
    validator = DatasetValidator(
        settings.collapse_threshold, settings.diversity_threshold, settings=settings, cache_folder=cache_folder
    )
    stem = (inbox.verdicts or path.parent) / path.name
    as_json, as_html = stem.with_name(f"{stem.name}{VERDICT}.json"), stem.with_name(f"{stem.name}{VERDICT}.html")
    try:
        result = validator.validate_sync(path, reference=inbox.reference, holdout=inbox.holdout, label=inbox.label)
    except DataError as error:
        facts = {"verdict": UNREADABLE, "approved_for_training": False, "reason": error.message, "remedy": error.remedy}
        write_json(as_json, {"file": path.name, **facts})
        as_html.unlink(missing_ok=True)
        moved = _moved(path, inbox.rejected_to)
        return Verdict(UNREADABLE, str(error), moved, as_json, None, None)
    write_json(as_json, {"file": path.name, **json.loads(result.model_dump_json())})
    result.save_report(as_html)
    moved = _moved(path, inbox.approved_to if result.approved_for_training else inbox.rejected_to)
    return Verdict(result.verdict, result.reason, moved, as_json, as_html, result)


def inbox_named(inboxes: tuple[InboxConfig, ...], name: str) -> InboxConfig:
    """Return the inbox of that name.

    Raises:
        DataError: There is none.
    """
    for inbox in inboxes:
        if inbox.name == name:
            return inbox
    known = ", ".join(inbox.name for inbox in inboxes) or "none"
    raise DataError(f"Unknown inbox {name!r}.", remedy=f"Known: {known}. Add it under validation.inboxes.")


def _candidates(inbox: InboxConfig) -> list[Path]:
    if not inbox.folder.is_dir():
        return []
    try:
        names = sorted(entry.name for entry in os.scandir(inbox.folder) if entry.is_file(follow_symlinks=False))
    except OSError as error:
        raise StorageError(f"Cannot read {inbox.folder}: {error.strerror}.", path=str(inbox.folder)) from error
    return [inbox.folder / name for name in names if _is_data(name, inbox)]


def _is_data(name: str, inbox: InboxConfig) -> bool:
    ours = name.endswith((f"{VERDICT}.json", f"{VERDICT}.html"))
    own = {path.name for path in (inbox.reference, inbox.holdout) if path is not None and path.parent == inbox.folder}
    unfinished = name.startswith(".") or name.lower().endswith(_UNFINISHED)
    return not ours and not unfinished and name not in own and fnmatch.fnmatch(name, inbox.pattern)


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _moved(path: Path, folder: Path | None) -> Path:
    """Move a file; one of the same name is never overwritten."""
    if folder is None:
        return path
    target = folder / path.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while target.exists():
            number += 1
            target = folder / f"{path.stem}__{number}{path.suffix}"
        path.rename(target)
    except OSError as error:
        raise StorageError(
            f"Cannot move {path} to {folder}: {error.strerror}.",
            path=str(folder),
            remedy="Choose a folder on the same disk that may be written.",
        ) from error
    return target
