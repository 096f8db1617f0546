"""The lexical guard of near hits: two instructions mean the same only if what may change the meaning is equal.

It does not list what must agree (numbers, negations, antonyms, names, units, order), because such a list has holes.
It lists what may differ, in `lexicon`: politeness, articles, punctuation, contractions, spelling variants, a few
synonyms. All other words must be equal and stand in the same order.
"""

from __future__ import annotations

import re
from functools import lru_cache

from orchestai.reflex.lexicon import (
    ARTICLES,
    CASE_MATTERS,
    CONTRACTIONS,
    GREETINGS,
    ORDERS,
    PHRASES,
    POLITE,
    QUESTION_WORDS,
    REQUESTS,
    SYNONYMS,
    THANKS,
    TURNS,
)

MAX_CHARS = 8_192
"""Longer texts have no near hits: too much of them would have to be compared for too rare a gain."""

_LITERAL = re.compile(
    r"```.*?```|`[^`\n]+`|\"[^\"\n]*\"|“[^”\n]*”|„[^“”\n]*[“”]|«[^»\n]*»|(?<!\w)'[^'\n]+'(?!\w)", re.DOTALL
)
_TOKEN = re.compile(
    r"\x00\d+\x00|<[A-Z_]+_\d+>|[-+]?\d+(?:[.,:/]\d+)*|[^\W\d_]+(?:['’.-][^\W\d_]+)*|_|[^\w\s]|\d", re.UNICODE
)
_BREAKS = frozenset(".;!:…–—")
_DROPPED = frozenset("\"'’“”")
_LONGEST_PHRASE = {
    word: max(len(phrase.split()) for phrase in PHRASES if phrase.split()[0] == word)
    for word in {phrase.split()[0] for phrase in PHRASES}
}


def canonical_words(text: str) -> tuple[str, ...] | None:
    """Return the words of `text` of which equal tuples mean the same, or null if there can be no near hit."""
    if len(text) > MAX_CHARS:
        return None
    literals: list[str] = []

    def keep(match: re.Match[str]) -> str:
        literals.append(match.group())
        return f" \x00{len(literals) - 1}\x00 "

    bare = _LITERAL.sub(keep, text.replace("\x00", " "))
    raw = _TOKEN.findall(bare)
    words: list[str] = []
    for position, token in enumerate(raw):
        if token.startswith("\x00"):
            words.append(literals[int(token.strip("\x00"))])  # what is quoted counts letter by letter
        else:
            words.extend(_words_of(token, position == 0 or raw[position - 1] in ".!?"))
    return _settle(words)


@lru_cache(maxsize=32_768)
def _words_of(token: str, first: bool) -> tuple[str, ...]:
    lowered = token.lower().replace("’", "'")
    if lowered in CONTRACTIONS:
        return tuple(CONTRACTIONS[lowered].split())
    if lowered in ARTICLES:
        return (lowered,) if first or token.islower() else (token,)  # "vitamin A" is no article
    if lowered in SYNONYMS or lowered in POLITE:
        return (SYNONYMS.get(lowered, lowered),)
    if token[0].isdigit() or not token[0].isalpha():
        return (_number(token),)
    # "US" is not "us", and "Polish" not "polish"; "paris" is "Paris" typed in a hurry.
    if (len(token) > 1 and token.isupper()) or any(char.isupper() for char in token[1:]):
        return (token,)
    if not first and token[0].isupper() and lowered in CASE_MATTERS:
        return (token,)
    return (lowered,)


def _number(token: str) -> str:
    digits = token.removeprefix("+")
    # Thousands with commas, as in English; 1.000 stays, for it is one or a thousand.
    return digits.replace(",", "") if re.fullmatch(r"-?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", digits) else digits


def _settle(words: list[str]) -> tuple[str, ...] | None:
    """Take greetings, thanks, requests, articles and idle punctuation off; put phrases into one form."""
    words = ["." if word in _BREAKS else word for word in words if word not in _DROPPED]
    words = _without_edges(words)
    while words and words[-1] in (".", ","):
        words.pop()
    asks = bool(words) and words[-1] == "?"
    words = [word for word in words if word not in POLITE]
    while words and words[0] in (",", "."):
        words.pop(0)
    words, ordered = _without_request(words)
    words = [word for word in words if word not in ARTICLES]
    words = _join_phrases(_join_phrases(_without_idle_commas(words)))
    if words and words[-1] == "?":
        words.pop()
    if not words:
        return None
    # A statement with a question mark is another speech act than the statement.
    if asks and not ordered and words[0] not in QUESTION_WORDS:
        words.append("?")
    return tuple(words)


def _without_edges(words: list[str]) -> list[str]:
    for phrase in GREETINGS:
        parts = phrase.split()
        rest = words[len(parts) :]
        if words[: len(parts)] == parts and rest and (rest[0] in (",", ".") or _is_opening(rest)):
            words = rest
            break
    for phrase in THANKS:
        parts = phrase.split()
        bare = words[:-1] if words[-1:] == ["."] else words
        rest = bare[: -len(parts)]
        if bare[-len(parts) :] == parts and rest and rest[-1] in (",", ".", "?"):
            return rest
    return words


def _is_opening(words: list[str]) -> bool:
    return words[0] in POLITE or words[0] in QUESTION_WORDS or words[0] in ORDERS or _without_request(words)[1]


def _without_idle_commas(words: list[str]) -> list[str]:
    return [
        word
        for position, word in enumerate(words)
        if word != "," or not TURNS.isdisjoint(words[max(0, position - 1) : position + 2])
    ]


def _without_request(words: list[str]) -> tuple[list[str], bool]:
    for phrase in REQUESTS:
        parts = phrase.split()
        rest = words[len(parts) :]
        if words[: len(parts)] == parts and rest and rest[0] in ORDERS:
            return rest, True
    return words, False


def _join_phrases(words: list[str]) -> list[str]:
    joined: list[str] = []
    position = 0
    while position < len(words):
        longest = _LONGEST_PHRASE.get(words[position], 0)
        for size in range(min(longest, len(words) - position), 0, -1):
            phrase = PHRASES.get(" ".join(words[position : position + size]))
            if phrase is not None:
                joined.extend(phrase.split())
                position += size
                break
        else:
            joined.append(words[position])
            position += 1
    return joined
