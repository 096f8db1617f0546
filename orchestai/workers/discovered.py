"""Listed models become worker profiles, each with a note on what nobody said about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from orchestai.contracts import Modality, WorkerCatalog, WorkerProfile
from orchestai.workers.model_facts import ModelFacts, known_of

MAX_NAME_CHARS = 200

_MAX_CONTEXT_TOKENS = 100_000_000
_MAX_USD_PER_MTOK = 100_000.0
_UNUSABLE = (" ", "{{", "{%", "{#")
_UNSAFE = re.compile(r"[^a-z0-9._-]+")
# What the plain format leaves out can often be told from the name; the note says that it was guessed.
_BY_NAME = (
    (re.compile(r"embed|\bbge\b|\bgte\b|\be5\b"), (Modality.EMBEDDING,)),
    (re.compile(r"whisper|transcri"), (Modality.AUDIO,)),
)
_NO_WORKER = re.compile(r"\btts\b|dall-e|moderation|rerank|gpt-image|\bsora\b|stable-diffusion|realtime")


@dataclass(frozen=True)
class Listed:
    """One entry of a list of models, unchecked.

    Attributes:
        name: What it calls itself.
        modalities: Calls that it answers, if the list says so.
        context_tokens: The most that it reads.
        input_usd_per_token: Price as the list gives it.
        output_usd_per_token: Price as the list gives it.
        note: What the user must know before calling it.
        skip: Why it is no worker.
    """

    name: object
    modalities: tuple[Modality, ...] | None = None
    context_tokens: object = None
    input_usd_per_token: object = None
    output_usd_per_token: object = None
    note: str | None = None
    skip: str | None = None


@dataclass(frozen=True)
class DiscoveredModel:
    """A profile, and how far it can be trusted.

    Attributes:
        profile: The worker; what is unknown has the default of `WorkerProfile`.
        unknown: Fields that nobody said: `price`, `context_tokens`, `modalities`, `typical_latency_ms`. A price
            that is unknown stands as 0 in the profile, so nothing may be concluded from it.
        notes: What the user must know, in words.
    """

    profile: WorkerProfile
    unknown: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Discovery:
    """What was found.

    Attributes:
        models: One entry a usable model, in the order of the list.
        skipped: Why each of the others was left out, in words.
        complete: Whether the whole list was read.
    """

    models: tuple[DiscoveredModel, ...]
    skipped: tuple[str, ...]
    complete: bool

    def profiles(self) -> tuple[WorkerProfile, ...]:
        """Return the profiles alone."""
        return tuple(model.profile for model in self.models)

    def catalog(self) -> WorkerCatalog:
        """Return the profiles as a catalog; there must be at least one."""
        return WorkerCatalog(workers=self.profiles())


def merge(
    listed: Sequence[Listed],
    facts: Iterable[ModelFacts],
    *,
    base_url: str,
    api_key_env: str | None,
    prefix: str,
    limit: int,
    complete: bool,
) -> Discovery:
    """Make profiles of the first `limit` entries: what `facts` say first, then the list, then the defaults."""
    known = tuple(facts)
    models: list[DiscoveredModel] = []
    skipped: list[str] = []
    seen: set[str] = set()
    names: set[str] = set()
    for entry in listed[:limit]:
        model = entry.name
        if not isinstance(model, str) or not _is_usable(model):
            skipped.append(f"{_quoted(model)}: not a name that can be used")
            continue
        if model in seen:
            continue
        seen.add(model)
        merged = known_of(model, known)
        reason = None if "modalities" in merged else entry.skip or _why_no_worker(entry, model)
        if reason is not None:
            skipped.append(f"{_quoted(model)}: {reason}")
            continue
        name = _worker_name(prefix, model, names)
        names.add(name)
        models.append(_discovered(entry, model, name, merged, base_url=base_url, api_key_env=api_key_env))
    return Discovery(tuple(models), tuple(skipped), complete and len(listed) <= limit)


def _discovered(
    entry: Listed, model: str, name: str, merged: dict[str, Any], *, base_url: str, api_key_env: str | None
) -> DiscoveredModel:
    notes = [entry.note] if entry.note else []
    unknown = []
    if "modalities" not in merged:
        modalities = entry.modalities
        if modalities is None:
            unknown.append("modalities")
            modalities = next((found for hint, found in _BY_NAME if hint.search(model.lower())), (Modality.CHAT,))
            notes.append(f"modalities are guessed from the name: {', '.join(modalities)}")
        merged["modalities"] = modalities
    for side in ("input", "output"):
        price = _usd_per_mtok(getattr(entry, f"{side}_usd_per_token"))
        if price is not None:
            merged.setdefault(f"{side}_usd_per_mtok", price)
    needed = ("input",) if merged["modalities"] == (Modality.EMBEDDING,) else ("input", "output")
    if any(f"{side}_usd_per_mtok" not in merged for side in needed):
        unknown.append("price")
        notes.append("its price is unknown and counts as 0: give one before choosing by price")
    context = entry.context_tokens
    if isinstance(context, int) and not isinstance(context, bool) and 1 <= context <= _MAX_CONTEXT_TOKENS:
        merged.setdefault("context_tokens", context)
    unknown += [field for field in ("context_tokens", "typical_latency_ms") if field not in merged]
    merged.setdefault("description", f"The model {model}. Nothing is known of what it is good at.")
    profile = WorkerProfile(name=name, model=model, base_url=base_url, api_key_env=api_key_env, **merged)
    return DiscoveredModel(profile, tuple(unknown), tuple(notes))


def _why_no_worker(entry: Listed, model: str) -> str | None:
    if entry.modalities is None and _NO_WORKER.search(model.lower()):
        return "its name says that it neither chats, transcribes nor embeds"
    return None


def _is_usable(name: str) -> bool:
    """Say whether a name is safe to show, to send and to write into YAML.

    No control, invisible or direction-changing characters, and nothing that the configuration's templates obey.
    """
    return 0 < len(name) <= MAX_NAME_CHARS and name.isprintable() and not any(mark in name for mark in _UNUSABLE)


def _worker_name(prefix: str, model: str, taken: set[str]) -> str:
    base = prefix + (_UNSAFE.sub("-", model.lower()).strip("-.")[:80] or "model")
    name = base
    number = 2
    while name in taken:
        name = f"{base}-{number}"
        number += 1
    return name


def _usd_per_mtok(price: object) -> float | None:
    if isinstance(price, bool) or not isinstance(price, str | int | float):
        return None
    try:
        usd = float(price) * 1e6
    except (ValueError, OverflowError):
        return None
    return round(usd, 9) if 0 <= usd <= _MAX_USD_PER_MTOK else None  # NaN fails the comparison


def _quoted(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
