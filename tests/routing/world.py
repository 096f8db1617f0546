"""A small world of three kinds of task and four workers, each kind with a specialist."""

from __future__ import annotations

import numpy as np

from orchestai.routing.features import lexical_matrix
from orchestai.routing.outcomes import OutcomeTable
from orchestai.training.router import RouterData

KINDS = ("code", "trivia", "maths")
WORKERS = ("generalist", "coder", "mathematician", "cheap")
QUALITY = np.array([[0.7, 0.95, 0.3, 0.3], [0.75, 0.2, 0.2, 0.7], [0.6, 0.3, 0.95, 0.2]])
USD = np.array([0.010, 0.008, 0.008, 0.001])
_TEXTS = {
    "code": "Write a Python function that returns entry {0} of a list.\ndef entry(values):\n",
    "trivia": "who won the cup in the year {0}",
    "maths": "Let $x + {0} = {1}$. Find $x$ and put the result in \\boxed{{}}.",
}
WIDTH = 12


def world(rows: int = 360, *, seed: int = 0, kinds: tuple[str, ...] = KINDS) -> RouterData:
    """Draw sub-tasks with embeddings near the centre of their kind, and graded answers."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(len(KINDS), WIDTH))
    families = [kinds[place % len(kinds)] for place in range(rows)]
    places = np.array([KINDS.index(kind) for kind in families])
    embeddings = centres[places] + 0.4 * generator.normal(size=(rows, WIDTH))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    texts = tuple(_TEXTS[kind].format(seed * rows + place, place) for place, kind in enumerate(families))
    scores = (generator.random((rows, len(WORKERS))) < QUALITY[places]).astype(np.float64)
    usd = np.broadcast_to(USD, scores.shape).copy()
    empty = np.full(scores.shape, np.nan)
    table = OutcomeTable(
        ids=tuple(f"{seed}-{place}" for place in range(rows)),
        texts=texts,
        families=tuple(families),
        workers=WORKERS,
        scores=scores,
        cost_usd=usd,
        latency_ms=empty,
        output_tokens=empty.copy(),
    )
    return RouterData(table, embeddings, lexical_matrix(texts), np.eye(len(WORKERS), WIDTH), usd)
