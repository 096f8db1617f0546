"""The retriever arm: the passages of given documents that bear on a question."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from orchestai.arms.base import Role, local_profile
from orchestai.arms.bm25 import BM25
from orchestai.config import RetrieverConfig
from orchestai.contracts import WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.contracts.base import Record
from orchestai.errors import WorkerRequestError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from orchestai.embeddings import TextEncoder

_WORD = re.compile(r"\S+")
_RRF = 60
_DOCUMENT = "text"


class Passage(Record):
    """A piece of a document.

    Attributes:
        source: Name of the document.
        start: Where it begins, in characters.
        end: Where it ends.
        text: The piece itself.
        score: How much it bears on the question, between 0 and 1; 1 is first by every measure in use.
        lexical: Its BM25 score; null if it shares no word with the question.
        coverage: Share of the question's words that it has, by their weight.
        similarity: Cosine of its vector with the question's; null without an encoder.
    """

    source: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    text: str
    score: float = 0.0
    lexical: float | None = None
    coverage: float = 0.0
    similarity: float | None = None


class RetrieverArm:
    """Finds passages by their words, and by meaning where an encoder is given.

    The two rankings are fused by reciprocal rank (Cormack et al. 2009, k = 60): their scores have no common
    scale. As a worker it searches its own documents and the inputs `text`, `text_2` ... for the prompt, or for
    `inputs["query"]`.

    Args:
        documents: Texts by name.
        encoder: Adds the search by meaning.
        config: How documents are cut and how many passages come back.
        name: Name in plans and logs.
    """

    def __init__(
        self,
        documents: Mapping[str, str] | None = None,
        *,
        encoder: TextEncoder | None = None,
        config: RetrieverConfig | None = None,
        name: str = "retriever",
    ) -> None:
        self._encoder = encoder
        self._config = config or RetrieverConfig()
        self._index = _Index(documents or {}, encoder, self._config)
        self._profile = local_profile(
            name,
            "Finds the passages of given documents that bear on a question, with their sources.",
            typical_latency_ms=20.0 if encoder is not None else 2.0,
        )

    @property
    def profile(self) -> WorkerProfile:
        """Its capability, price and speed facts."""
        return self._profile

    @property
    def role(self) -> Role:
        """What it is there for."""
        return "retriever"

    @property
    def max_calls(self) -> int:
        """It calls no model that costs."""
        return 0

    async def retrieve(
        self, query: str, *, documents: Mapping[str, str] | None = None, limit: int | None = None
    ) -> tuple[Passage, ...]:
        """Return the passages that bear on `query`, best first; none if nothing does.

        Args:
            query: What is asked.
            documents: Further texts for this question, by name.
            limit: How many at most; the configured number otherwise.
        """
        limit = limit or self._config.passages
        if self._encoder is None and not documents:
            return self._index.search(query, limit)
        return await asyncio.to_thread(self._search, query, documents or {}, limit)

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        """Search for the request's question; the answer cites `[1] source: text`.

        Raises:
            WorkerRequestError: There is no document to search.
        """
        started = time.monotonic()
        documents = {name: text for name, text in request.inputs.items() if name.startswith(_DOCUMENT)}
        if not documents and not self._index.passages:
            raise WorkerRequestError(
                "There is no document to search.",
                worker=self._profile.name,
                remedy="Give the retriever documents, or pass them as the inputs `text`, `text_2` and so on.",
            )
        passages = await self.retrieve(request.inputs.get("query", request.prompt), documents=documents)
        return WorkerOutput(
            content="\n\n".join(f"[{n}] {p.source}: {p.text}" for n, p in enumerate(passages, start=1)),
            metadata={
                "model": self._encoder.name if self._encoder is not None else "bm25",
                "simulated": False,
                "confidence": _confidence(passages),
                "passages": [passage.model_dump() for passage in passages],
                "input_tokens": 0,
                "output_tokens": 0,
                "calls": 0,
            },
            latency_ms=(time.monotonic() - started) * 1000,
        )

    async def aclose(self) -> None:
        """The encoder belongs to whoever gave it."""

    def _search(self, query: str, documents: Mapping[str, str], limit: int) -> tuple[Passage, ...]:
        index = self._index
        if documents:  # one index over all: scores of two would not compare
            index = _Index({**index.documents, **documents}, self._encoder, self._config)
        return index.search(query, limit)


class _Index:
    """Passages of some documents, findable by word and by vector; the vectors are made at the first search."""

    def __init__(self, documents: Mapping[str, str], encoder: TextEncoder | None, config: RetrieverConfig) -> None:
        self.documents = dict(documents)
        self.passages = [p for name, text in self.documents.items() for p in cut(name, text, config)]
        self._words = BM25([passage.text for passage in self.passages])
        self._encoder = encoder
        self._vectors: npt.NDArray[np.float32] | None = None  # (P, H)

    def search(self, query: str, limit: int) -> tuple[Passage, ...]:
        depth = max(limit * 4, 20)
        rankings: list[dict[int, float]] = [dict(self._words.search(query, depth))]
        if self._encoder is not None and self.passages:
            rankings.append(dict(self._nearest(self._encoder, query, depth)))
        fused: dict[int, float] = {}
        for ranking in rankings:
            for rank, index in enumerate(ranking, start=1):
                fused[index] = fused.get(index, 0.0) + 1.0 / (_RRF + rank)
        best = sorted(fused, key=lambda index: (-fused[index], index))[:limit]
        highest = len(rankings) / (_RRF + 1)
        return tuple(
            self.passages[index].model_copy(
                update={
                    "score": fused[index] / highest,
                    "lexical": rankings[0].get(index),
                    "coverage": self._words.coverage(query, index),
                    "similarity": rankings[1].get(index) if len(rankings) > 1 else None,
                }
            )
            for index in best
        )

    def _nearest(self, encoder: TextEncoder, query: str, depth: int) -> Iterator[tuple[int, float]]:
        if self._vectors is None:
            self._vectors = encoder.encode([passage.text for passage in self.passages])
        cosines = self._vectors @ encoder.encode([query])[0]  # (P,)
        for index in sorted(range(len(cosines)), key=lambda i: (-float(cosines[i]), i))[:depth]:
            yield index, float(cosines[index])


def _confidence(passages: Sequence[Passage]) -> float:
    # The fused score only ranks: the first passage has it high even if nothing bears on the question.
    return max((max(p.coverage, min(p.similarity or 0.0, 1.0)) for p in passages), default=0.0)


def cut(source: str, text: str, config: RetrieverConfig) -> Iterator[Passage]:
    """Cut a document into passages that overlap, so that no sentence is only ever seen in halves."""
    words = list(_WORD.finditer(text))
    step = config.passage_words - config.overlap_words
    for first in range(0, len(words), step):
        piece = words[first : first + config.passage_words]
        start, end = piece[0].start(), piece[-1].end()
        yield Passage(source=source, start=start, end=end, text=text[start:end])
        if first + config.passage_words >= len(words):
            return
