"""What the surface of a text tells about the kind of task: length, marks, code, options, script, first word."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Each is looked for once (is it there?) and counted (how often?). They are marks of form, not of any data set:
# an embedding tells what a text is about, these tell how the answer will be checked.
_MARKS = tuple(
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        r"\?\s*$",
        r"\?",
        r"\.\s*$",
        r":\s*$",
        r"\$",
        r"\\\w+",
        r"\\boxed",
        r"\\frac",
        r"def \w+\(",
        r"import \w+",
        r">>>",
        r'"""',
        r"write (?:a|an) (?:python )?function",
        r"\bassert\b",
        r"```",
        r"\[[A-Z]{3,}\]",
        r"^\(?[A-E][\).:]\s",
        r"\bclues?\b",
        r"\bhow (?:many|much)\b",
        r"\d",
        r"\d+\.\d+",
        r"[=+*/^<>]",
        r"\bfollowing\b",
        r"[{}]",
        r"\[|\]",
        r"_{2,}",
        r"\bpython\b",
        r"\bjson\b",
        r"\banswer\b",
        r"\b(?:passage|article|context)\b",
        r"%",
        r"\n",
        r";",
        r",",
        r"\b(?:he|she|they|his|her)\b",
        r"\b(?:is|are|was|were|did|does|do)\b",
        r"\b(?:I|we|you)\b",
        r"°|±|\^|_\{",
        r"\b(?:energy|mass|electron|protein|gene|reaction|molecule|acid|quantum)\b",
        r"\b(?:film|movie|song|album|series|actor|band|novel|book|season|episode)\b",
        r"\b(?:country|city|capital|river|state|king|president|war|year|century)\b",
        r"[\u0400-\u04ff]",
        r"[\u4e00-\u9fff]",
        r"[\u3040-\u30ff]",
        r"[\u0980-\u09ff\u0c00-\u0c7f\u0e00-\u0e7f]",
        r"[\u00c0-\u017f]",
    )
)
_FIRST_WORDS = (
    *("what", "who", "when", "where", "which", "why", "how", "if", "write", "find", "let", "compute", "a", "the"),
    *("in", "q:", "given", "def", "from", "is", "are", "you", "evaluate", "solve", "suppose", "consider"),
    *("simplify", "determine", "for", "an", "two"),
)
_READ_CHARS = 4_000  # reading takes a millisecond a thousand
_SCALARS = 12

LEXICAL_SIZE = _SCALARS + 2 * len(_MARKS) + len(_FIRST_WORDS)
"""Width of a lexical vector."""

LEXICAL_VERSION = 2
"""Changes when the meaning of a column does: a router that was trained on other columns is refused."""


def lexical(text: str) -> list[float]:
    """Describe the form of one text; of a long one its first 4,000 characters.

    Returns:
        `LEXICAL_SIZE` numbers, not scaled.
    """
    text = text.strip()[:_READ_CHARS]
    chars = max(len(text), 1)
    words = text.split()
    count = max(len(words), 1)
    vector = [
        math.log1p(len(text)),
        math.log1p(count),
        math.log1p(text.count("\n")),
        len(text) / count / 6,
        10 * sum(map(str.isdigit, text)) / chars,
        10 * sum(map(str.isupper, text)) / chars,
        10 * sum(not (char.isalnum() or char.isspace()) for char in text) / chars,
        10 * sum(ord(char) > 127 for char in text) / chars,
        float(text[:1].islower()),
        float(text[:1].isupper()),
        text.count(",") / count,
        len({word.lower() for word in words}) / count,
    ]
    for mark in _MARKS:
        found = len(mark.findall(text))
        vector += (float(found > 0), math.log1p(found))
    first = words[0].lower() if words else ""
    vector += (float(first == word) for word in _FIRST_WORDS)
    return vector


def lexical_matrix(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Describe the form of some texts: [N, LEXICAL_SIZE]."""
    return np.array([lexical(text) for text in texts], dtype=np.float64).reshape(len(texts), LEXICAL_SIZE)
