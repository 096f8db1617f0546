"""What somebody could want: needs about given material, and the plan that follows from them.

A scenario is drawn, never read from text: the plan is known first, and the wording is made for it. What depends
on what is decided here by the same conventions as in the starter corpus:

- a picture or a recording is read once, just before its first use, and every need about it waits for that;
- sums over a text or a recording wait for the facts to be picked out, sums over a picture for its description;
- what is wanted in another language is made first and translated then;
- a piece of writing waits for exactly the results that it is to contain.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from orchestai.training.phrases import Kind

EXTRACT, SUMMARIZE, TRANSLATE, WRITE = "text_extraction", "summarization", "translation", "generation"
CLASSIFY, ANSWER, REASON, CODE = "classification", "question_answering", "reasoning", "code_generation"
T = TypeVar("T")
READERS: dict[Kind, str] = {"image": "image_analysis", "audio": "audio_transcription"}


@dataclass(frozen=True)
class Need:
    """One thing that is asked for.

    Attributes:
        phrases: Key of its phrases in `PhraseBook.asks`.
        node: Its sub-task; the last one where it takes several.
        about: The kind of material it is about, the node it is about, or None if it stands for itself.
        refs: Nodes whose results it is to contain.
        follows: It goes on from the need before it.
    """

    phrases: str
    node: int
    about: Kind | int | None = None
    refs: tuple[int, ...] = ()
    follows: bool = False


@dataclass
class Scenario:
    """Needs in the order in which they are asked, and their plan.

    Attributes:
        task_types: Name of the task type of each node, parents before children.
        dependencies: Parents of each node.
        blocks: Needs that belong together: about one material, or about none.
        media: Kinds of material that are given.
    """

    task_types: list[str] = field(default_factory=list)
    dependencies: list[tuple[int, ...]] = field(default_factory=list)
    blocks: list[list[Need]] = field(default_factory=list)
    media: tuple[Kind, ...] = ()
    _readers: dict[Kind, int] = field(default_factory=dict)

    def add(self, task_type: str, *parents: int) -> int:
        """Add a node and return its place."""
        self.task_types.append(task_type)
        self.dependencies.append(tuple(sorted(set(parents))))
        return len(self.task_types) - 1

    def read(self, kind: Kind) -> tuple[int, ...]:
        """Return the node that reads the material, as a parent; a text needs none."""
        reader = READERS.get(kind)
        if reader is None:
            return ()
        if kind not in self._readers:
            self._readers[kind] = self.add(reader)
        return (self._readers[kind],)


_SIZES = {1: 13, 2: 24, 3: 25, 4: 22, 5: 10, 6: 4, 7: 2}
_MEDIA: dict[tuple[Kind, ...], int] = {
    (): 30,
    ("text",): 30,
    ("image",): 20,
    ("audio",): 15,
    ("audio", "image"): 6,
    ("audio", "text"): 2,
    ("image", "text"): 2,
}
_ABOUT: dict[Kind, dict[str, int]] = {
    "text": {"extract": 24, "summarize": 16, "translate": 9, "classify": 17, "qa": 13, "reason": 18, "write": 6},
    "image": {
        "extract": 12,
        "translate": 11,
        "classify": 15,
        "qa": 9,
        "reason": 26,
        "write": 22,
        "code_from": 8,
        "code_fix_from": 4,
    },
    "audio": {"extract": 24, "summarize": 19, "translate": 12, "classify": 17, "reason": 20, "write": 13, "qa": 3},
}
_ALONE = {
    "fact": 20,
    "code": 20,
    "reason_self": 18,
    "write_free": 15,
    "translate_self": 13,
    "classify_self": 9,
    "extract_self": 6,
    "summarize_self": 4,
    "code_fix": 6,
}
_TYPES = {
    "extract": EXTRACT,
    "summarize": SUMMARIZE,
    "translate": TRANSLATE,
    "classify": CLASSIFY,
    "qa": ANSWER,
    "write": WRITE,
    "code_from": CODE,
    "code_fix_from": CODE,
    "fact": ANSWER,
    "code": CODE,
    "code_fix": CODE,
    "reason_self": REASON,
    "write_free": WRITE,
    "translate_self": TRANSLATE,
    "classify_self": CLASSIFY,
    "extract_self": EXTRACT,
    "summarize_self": SUMMARIZE,
}


_WRITTEN_UP = {"reason_self": 0.4, "extract_self": 0.3, "classify_self": 0.3}
"""How often a piece of writing is made of what stands for itself."""


def draw_scenario(rng: random.Random, *, largest: int = 7) -> Scenario:
    """Draw needs and their plan of at most `largest` + 3 nodes (a need may take several)."""
    size = min(_pick(rng, _SIZES), largest)
    media = _pick(rng, _MEDIA)
    scenario = Scenario(media=media)
    if len(media) == 2 and rng.random() < 0.35:
        _join_media(scenario, rng)
        media = ()
    left = list(media)
    while left:
        kind = left.pop(0)
        room = max(1, size - len(scenario.task_types) - 2 * len(left))
        _about(scenario, kind, room, rng)
    while len(scenario.task_types) < size:
        _alone(scenario, size - len(scenario.task_types), rng)
    rng.shuffle(scenario.blocks)
    return _in_order(scenario)


def _about(scenario: Scenario, kind: Kind, room: int, rng: random.Random) -> None:
    """Add a block of needs about one material, `room` nodes or a few more."""
    begun = len(scenario.task_types)
    block: list[Need] = []
    scenario.blocks.append(block)
    base = scenario.read(kind)
    if room == 1 and base:
        block.append(Need("transcribe" if kind == "audio" else "describe", base[0], kind))
        return
    about: Kind | int = kind
    if room >= 2 and rng.random() < 0.12:
        about = scenario.add(TRANSLATE, *base)
        block.append(Need("translate_source", about, kind))
        base = (about,)
    shares = dict(_ABOUT[kind])
    results: list[int] = [about] if isinstance(about, int) and rng.random() < 0.2 else []
    while len(scenario.task_types) - begun < room and shares:
        if results and room > 2 and rng.random() < 0.35:
            break
        choice = _pick(rng, shares)
        if choice not in ("classify", "translate") or rng.random() < 0.7:
            del shares[choice]
        if choice == "reason":
            results.append(_reason(scenario, block, kind, about, base))
        else:
            node = scenario.add(_TYPES[choice], *base)
            block.append(Need(choice, node, about))
            if choice == "extract" and rng.random() < 0.12 and kind != "image":
                block.append(Need("code_from", scenario.add(CODE, node), node, follows=True))
            if choice in ("summarize", "write", "extract", "qa"):
                odds = {"summarize": 0.3, "write": 0.35, "extract": 0.12, "qa": 0.05}[choice]
                _abroad(scenario, block, node, rng, odds)
            if choice not in ("translate", "write", "code_from", "code_fix_from"):
                results.append(node)
    if len(scenario.task_types) - begun < room and results:
        _write_up(scenario, block, results, rng)


def _reason(scenario: Scenario, block: list[Need], kind: Kind, about: Kind | int, base: tuple[int, ...]) -> int:
    """Add a sum over the material; return its node."""
    listed = [need.node for need in block if need.phrases == "extract"]
    if kind == "image" and not isinstance(about, int):
        node = scenario.add(REASON, *base)
    else:
        node = scenario.add(REASON, listed[-1] if listed else scenario.add(EXTRACT, *base))
    block.append(Need("reason", node, about, follows=bool(listed)))
    return node


def _write_up(scenario: Scenario, block: list[Need], results: Sequence[int], rng: random.Random) -> None:
    """Add a piece of writing that contains some of the results, perhaps in another language."""
    wanted = sorted(rng.sample(list(results), min(len(results), rng.choice((1, 2, 2, 3)))))
    last = block[-1].node
    if wanted == [last] and rng.random() < 0.6:
        node = scenario.add(WRITE, last)
        block.append(Need("write_tell", node, last, follows=True))
    else:
        node = scenario.add(WRITE, *wanted)
        block.append(Need("write_with", node, None, tuple(wanted), follows=True))
    _abroad(scenario, block, node, rng, 0.35)


def _abroad(scenario: Scenario, block: list[Need], node: int, rng: random.Random, odds: float) -> None:
    if rng.random() < odds:
        both = "too_both" if rng.random() < 0.4 else "too"
        block.append(Need(both, scenario.add(TRANSLATE, node), node, follows=True))
        if both == "too_both" and rng.random() < 0.15:
            block.append(Need(both, scenario.add(TRANSLATE, node), node, follows=True))


def _join_media(scenario: Scenario, rng: random.Random) -> None:
    """Add a block that weighs two materials against each other."""
    block: list[Need] = []
    scenario.blocks.append(block)
    parents: list[int] = []
    kinds = list(scenario.media)
    if rng.random() < 0.5:
        kinds.reverse()
    for kind in kinds:
        base = scenario.read(kind)
        node = base[0] if kind == "image" else scenario.add(EXTRACT, *base)
        block.append(Need("describe" if kind == "image" else "extract", node, kind))
        parents.append(node)
    node = scenario.add(REASON, *parents)
    block.append(Need("verify", node, None, follows=True))
    if rng.random() < 0.4:
        _write_up(scenario, block, [node], rng)


def _alone(scenario: Scenario, room: int, rng: random.Random) -> None:
    """Add a block of needs that no material belongs to."""
    block: list[Need] = []
    scenario.blocks.append(block)
    if room >= 3 and rng.random() < 0.25:
        _alone_and_joined(scenario, block, rng)
        return
    choice = _pick(rng, _ALONE)
    node = scenario.add(_TYPES[choice])
    block.append(Need(choice, node))
    if room < 2:
        return
    if choice in ("write_free", "fact"):
        _abroad(scenario, block, node, rng, 0.5 if choice == "write_free" else 0.12)
    elif choice in ("code", "code_fix"):
        _after_code(scenario, block, node, rng)
    elif choice in _WRITTEN_UP and rng.random() < _WRITTEN_UP[choice]:
        _write_up(scenario, block, [node], rng)


def _alone_and_joined(scenario: Scenario, block: list[Need], rng: random.Random) -> None:
    results = []
    for choice in rng.sample(["fact", "fact", "reason_self", "code", "translate_self", "extract_self"], 2):
        node = scenario.add(_TYPES[choice])
        block.append(Need(choice, node))
        results.append(node)
    facts = {need.phrases for need in block} <= {"fact", "reason_self", "extract_self"}
    if facts and rng.random() < 0.4:
        block.append(Need("verify", scenario.add(REASON, *results), None, follows=True))
    else:
        node = scenario.add(WRITE, *results)
        block.append(Need("write_with", node, None, tuple(results), follows=True))
        _abroad(scenario, block, node, rng, 0.25)


def _after_code(scenario: Scenario, block: list[Need], node: int, rng: random.Random) -> None:
    chance = rng.random()
    if chance < 0.35:
        block.append(Need("write_code", scenario.add(WRITE, node), node, follows=True))
    elif chance < 0.5 and block[-1].phrases == "code":
        block.append(Need("code_try", scenario.add(REASON, node), node, follows=True))


def _in_order(scenario: Scenario) -> Scenario:
    """Number the nodes in the order in which they are asked for, parents first."""
    order: list[int] = []

    def visit(node: int) -> None:
        if node not in order:
            for parent in scenario.dependencies[node]:
                visit(parent)
            order.append(node)

    for block in scenario.blocks:
        for need in block:
            visit(need.node)
    place = {node: index for index, node in enumerate(order)}
    return Scenario(
        task_types=[scenario.task_types[node] for node in order],
        dependencies=[tuple(sorted(place[p] for p in scenario.dependencies[node])) for node in order],
        blocks=[[_renumbered(need, place) for need in block] for block in scenario.blocks],
        media=scenario.media,
    )


def _renumbered(need: Need, place: dict[int, int]) -> Need:
    about = place[need.about] if isinstance(need.about, int) else need.about
    return Need(need.phrases, place[need.node], about, tuple(place[ref] for ref in need.refs), need.follows)


def _pick(rng: random.Random, shares: dict[T, int]) -> T:
    return rng.choices(list(shares), weights=list(shares.values()))[0]


TYPES = frozenset({*_TYPES.values(), *READERS.values()})
"""Every task type that a scenario may need."""
