"""BM25 over passages: which of them share rare words with a query."""

from __future__ import annotations

import heapq
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

# Words; scripts that are written without spaces give one term a character.
_TERM = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")


def terms(text: str) -> list[str]:
    """Return the terms of `text`: folded words, and single characters of scripts without spaces."""
    return _TERM.findall(unicodedata.normalize("NFKC", text).casefold())


class BM25:
    """An inverted index with the scores of Robertson and Zaragoza (2009), eq. 3.15.

    The inverse document frequency is ln(1 + (N - n + 0.5) / (n + 0.5)), which is never negative.

    Args:
        texts: The passages.
        k1: How soon further occurrences of a term count no more.
        b: How much long passages are held back.
    """

    def __init__(self, texts: Sequence[str], *, k1: float = 1.2, b: float = 0.75) -> None:
        counts = [Counter(terms(text)) for text in texts]
        lengths = [sum(count.values()) for count in counts]
        mean = sum(lengths) / len(lengths) if any(lengths) else 1.0
        self._postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for index, count in enumerate(counts):
            norm = k1 * (1 - b + b * lengths[index] / mean)
            for term, frequency in count.items():
                self._postings[term].append((index, frequency * (k1 + 1) / (frequency + norm)))
        size = len(texts)
        self._unknown = math.log(1 + (size + 0.5) / 0.5)
        self._idf = {
            term: math.log(1 + (size - len(found) + 0.5) / (len(found) + 0.5)) for term, found in self._postings.items()
        }

    def search(self, query: str, limit: int) -> list[tuple[int, float]]:
        """Return the best passages with their scores, best first; those that share no term are left out."""
        scores: dict[int, float] = defaultdict(float)
        for term in sorted(set(terms(query))):
            for index, weight in self._postings.get(term, ()):
                scores[index] += self._idf[term] * weight
        return heapq.nsmallest(limit, scores.items(), key=lambda item: (-item[1], item[0]))

    def coverage(self, query: str, index: int) -> float:
        """Return the share of the query's weight that passage `index` covers: 1 if it has all the terms."""
        weights = {term: self._idf.get(term, self._unknown) for term in set(terms(query))}
        found = sum(w for term, w in weights.items() if any(i == index for i, _ in self._postings.get(term, ())))
        return found / sum(weights.values()) if weights else 0.0
