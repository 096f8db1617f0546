"""Plans that were good before: used again for the same instruction, adapted for one that differs in its details."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from orchestai.contracts import Instruction, Plan, Subtask, WorkflowGraph

_TOKEN = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|<[A-Z_]+_\d+>|[-+]?\d+(?:[.,:/]\d+)*|[^\W\d_]+(?:['’-][^\W\d_]+)*|[^\w\s]")
_LANGUAGES = frozenset(
    """arabic bengali bulgarian catalan chinese croatian czech danish dutch english estonian finnish french german greek
    hebrew hindi hungarian indonesian irish italian japanese korean latin latvian lithuanian malay norwegian persian
    polish portuguese romanian russian serbian slovak slovenian spanish swahili swedish thai turkish ukrainian urdu
    vietnamese welsh""".split()  # noqa: SIM905
)
_MAX_DETAILS = 4
_MAX_DETAIL_TOKENS = 6


class PlanEncoder(Protocol):
    """Turns texts into vectors of length 1, (B, H)."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one row a text."""


class CachedPlan(NamedTuple):
    """A plan from the cache.

    Attributes:
        plan: The plan, with a new id.
        kind: `exact`, or `adapted` where details were exchanged.
        similarity: Cosine between the instructions; 1 for the same.
        changes: Details that were exchanged, old and new.
    """

    plan: Plan
    kind: Literal["exact", "adapted"]
    similarity: float
    changes: tuple[tuple[str, str], ...] = ()


class _Entry(NamedTuple):
    scope: str
    tokens: tuple[str, ...]
    plan: Plan
    vector: npt.NDArray[np.float32] | None
    expires: float


class PlanCache:
    """Plans by instruction, within one tenant, kind of inputs, constraints and planner version.

    A plan is adapted only if the instructions have the same words in the same order but for *details*: numbers,
    names, quoted text, languages. Such a detail must stand in the sub-tasks' descriptions, or no sub-task could
    know the new one.

    Args:
        encoder: Vectors of instructions; null leaves the decision to the words alone.
        similarity: Cosine that must be passed besides.
        max_entries: Plans kept; the one used longest ago goes first.
        ttl_s: Seconds after which a plan is too old.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        encoder: PlanEncoder | None = None,
        *,
        similarity: float = 0.8,
        max_entries: int = 2_000,
        ttl_s: float = 86_400.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._encoder = encoder
        self._similarity = similarity
        self._max_entries = max_entries
        self._ttl_s = ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def put(self, instruction: Instruction, plan: Plan, *, version: str) -> None:
        """Keep a plan whose execution was accepted."""
        scope = _scope(instruction, version)
        vector = self._encoder.encode([instruction.text])[0] if self._encoder is not None else None
        entry = _Entry(scope, _tokens(instruction.text), plan, vector, self._clock() + self._ttl_s)
        with self._lock:
            key = _key(scope, instruction.text)
            self._entries[key] = entry
            self._entries.move_to_end(key)
            while len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)

    def get(self, instruction: Instruction, *, version: str) -> CachedPlan | None:
        """Return a plan for `instruction`, if one fits."""
        scope, now = _scope(instruction, version), self._clock()
        key = _key(scope, instruction.text)
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.expires > now:
                self._entries.move_to_end(key)
                return CachedPlan(_renewed(entry.plan, entry.plan.graph), "exact", 1.0)
            others = [each for each in self._entries.values() if each.scope == scope and each.expires > now]
        return self._adapted(instruction.text, others)

    def _adapted(self, text: str, entries: list[_Entry]) -> CachedPlan | None:
        tokens = _tokens(text)
        fitting = []
        for entry in entries:
            changes = _changes(entry.tokens, tokens)
            graph = _exchange(entry.plan.graph, changes) if changes else None
            if changes and graph is not None:
                fitting.append((entry, changes, graph))
        if not fitting:
            return None
        vector = self._encoder.encode([text])[0] if self._encoder is not None else None
        scored = [(_cosine(entry.vector, vector), entry, changes, graph) for entry, changes, graph in fitting]
        cosine, entry, changes, graph = max(scored, key=lambda each: (each[0], -len(each[2])))
        if cosine <= self._similarity:
            return None
        return CachedPlan(_renewed(entry.plan, graph), "adapted", cosine, changes)


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(text))


def _scope(instruction: Instruction, version: str) -> str:
    parts = [
        instruction.tenant,
        version,
        sorted(instruction.inputs),  # a plan depends on which inputs there are, not on what they hold
        instruction.constraints,
        instruction.budget.model_dump(),
        instruction.priority,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _key(scope: str, text: str) -> str:
    return hashlib.sha256(f"{scope}\n{text}".encode("utf-8", "replace")).hexdigest()


def _cosine(first: npt.NDArray[np.float32] | None, second: npt.NDArray[np.float32] | None) -> float:
    return 1.0 if first is None or second is None else float(first @ second)


def _changes(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[tuple[str, str], ...] | None:
    """Return the details that differ, or null if anything else does."""
    changes: list[tuple[str, str]] = []
    for i1, i2, j1, j2 in _differences(old, new):
        before, after = old[i1:i2], new[j1:j2]
        if not before or not after or max(len(before), len(after)) > _MAX_DETAIL_TOKENS:
            return None
        if not (_is_detail(before, i1) and _is_detail(after, j1)) or _sort(before) != _sort(after):
            return None
        changes.append((" ".join(before), " ".join(after)))
    exchanged = dict(changes)
    # "from Paris to Rome" for "from Rome to Paris": an exchange of names for each other is safe only at once,
    # and a detail that turns into two different ones cannot be told apart in the descriptions.
    consistent = len(exchanged) == len(set(changes))
    return tuple(dict.fromkeys(changes)) if consistent and 0 < len(exchanged) <= _MAX_DETAILS else None


def _differences(old: tuple[str, ...], new: tuple[str, ...]) -> list[tuple[int, int, int, int]]:
    """Return the ranges that differ; word by word where the lengths are equal, so that exchanged names are seen."""
    if len(old) == len(new):
        places = [place for place, (before, after) in enumerate(zip(old, new, strict=True)) if before != after]
        runs: list[list[int]] = []
        for place in places:
            if runs and place == runs[-1][1]:
                runs[-1][1] += 1
            else:
                runs.append([place, place + 1])
        return [(start, end, start, end) for start, end in runs]
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return [(i1, i2, j1, j2) for kind, i1, i2, j1, j2 in matcher.get_opcodes() if kind != "equal"]


def _is_detail(tokens: Sequence[str], position: int) -> bool:
    return all(
        token[0].isdigit()
        or (token[0] in '"“<+-' and len(token) > 1)
        or token.lower() in _LANGUAGES
        or (token[0].isupper() and position + offset > 0)
        for offset, token in enumerate(tokens)
    )


def _sort(tokens: Sequence[str]) -> str:
    """Numbers change into numbers, languages into languages, names into names."""
    token = tokens[0]
    if token.lower() in _LANGUAGES:
        return "language"
    if token[0] in '"“':
        return "quote"
    return "name" if token[0].isalpha() else "placeholder" if token[0] == "<" else "number"


def _exchange(graph: WorkflowGraph, changes: tuple[tuple[str, str], ...]) -> WorkflowGraph | None:
    """Put the new details into the descriptions, all at once; null if one of them stands in none."""
    exchanged = dict(changes)
    words = sorted(exchanged, key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in words))
    found: set[str] = set()

    def replaced(match: re.Match[str]) -> str:
        found.add(match.group())
        return exchanged[match.group()]

    nodes: list[Subtask] = [
        node.model_copy(update={"description": pattern.sub(replaced, node.description)}) for node in graph.nodes
    ]
    return WorkflowGraph(nodes=tuple(nodes), dependencies=graph.dependencies) if found == set(words) else None


def _renewed(plan: Plan, graph: WorkflowGraph) -> Plan:
    """Return a plan of its own: ids name one plan of one instruction, and it was paid for once."""
    own = ("id", "graph", "latency_ms", "planning_cost_usd", "planning_tokens")
    fields = {name: getattr(plan, name) for name in Plan.model_fields if name not in own}
    return Plan(graph=graph, **fields)
