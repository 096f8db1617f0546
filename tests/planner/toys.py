"""A toy world that a network can learn in a second: words decide the types, 'then' decides the edges."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orchestai.contracts import Modality, PlanExample, TaskCatalog, TaskType, WorkerCatalog, WorkerProfile
from orchestai.embeddings.protocol import TokenStates, pad, pool

HIDDEN = 24

TASKS = TaskCatalog(
    types=(
        TaskType(name="paint", description="paint a wall"),
        TaskType(name="bake", description="bake bread"),
        TaskType(name="look", description="look at a picture", modality=Modality.VISION),
    )
)
WORKERS = WorkerCatalog(
    workers=(
        WorkerProfile(name="ann", description="cheap hand", model="m"),
        WorkerProfile(name="bob", description="careful expert", model="m", input_usd_per_mtok=9.0),
        WorkerProfile(name="eye", description="sees", model="m", modalities=(Modality.VISION,)),
    )
)


class WordEncoder:
    """Every word has a fixed random vector; no context, no download."""

    def __init__(self, name: str = "words", hidden_size: int = HIDDEN) -> None:
        self.name = name
        self.identity = hashlib.sha256(name.encode()).hexdigest()
        self.hidden_size = hidden_size

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return pool(self.encode_tokens(texts))

    def encode_tokens(self, texts: Sequence[str]) -> TokenStates:
        return pad([self._words(text) for text in texts], self.hidden_size)

    def _words(self, text: str) -> npt.NDArray[np.float16]:
        words = text.casefold().replace(":", " ").split() or [""]
        seeds = [int(hashlib.sha256(word.encode()).hexdigest()[:8], 16) for word in words]
        return np.stack([np.random.default_rng(s).normal(size=self.hidden_size) for s in seeds]).astype(np.float16)


def toy_examples() -> list[PlanExample]:
    """Single requests, and pairs that are linked ('then') or independent ('and')."""
    names = TASKS.names
    fillers = ("please", "now", "today", "kindly", "quickly", "soon")
    examples = []
    for index, filler in enumerate(fillers):
        split = "validation" if index == 5 else "train"
        for a in names:
            examples.append(_example(f"{filler} {a}", (a,), ((),), split))
            for b in names:
                if a != b:
                    examples.append(_example(f"{filler} {a} then {b}", (a, b), ((), (0,)), split))
                    examples.append(_example(f"{filler} {a} and {b}", (a, b), ((), ()), split))
    return examples


def _example(text: str, types: tuple[str, ...], dependencies: tuple[tuple[int, ...], ...], split: str) -> PlanExample:
    chosen = {"paint": "ann", "bake": "bob", "look": "eye"}
    return PlanExample(
        id=text,
        instruction=text,
        task_types=types,
        dependencies=dependencies,
        model_selections=tuple(chosen[kind] for kind in types),
        complexities=tuple(0.2 if kind == "paint" else 0.8 for kind in types),
        split=split,
    )
