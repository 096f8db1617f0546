"""Replaces what was found by placeholders, and puts it back where that is allowed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

SECRET = "SECRET"

_PLACEHOLDER = re.compile(r"<([A-Z][A-Z_]*)_(\d{1,6})>")


class Piece(NamedTuple):
    """A piece of a text that has to go.

    Attributes:
        kind: Kind of personal data, or `SECRET`.
        start: First character.
        end: Character after the last.
    """

    kind: str
    start: int
    end: int


class Redactor:
    """Replaces pieces in the texts of one instruction; equal pieces get equal placeholders.

    Args:
        texts: All texts of the instruction. Placeholders that the user wrote are not given out again, so that no
            user can have another value put in their place.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._taken = {match.group() for text in texts for match in _PLACEHOLDER.finditer(text)}
        self._numbers: Counter[str] = Counter()
        self._names: dict[tuple[str, str], str] = {}
        self.counts: Counter[str] = Counter()

    def redact(self, text: str, pieces: Iterable[Piece]) -> str:
        """Return `text` with placeholders; where pieces overlap, secrets go first, then longer ones."""
        chosen: list[Piece] = []
        for piece in sorted(pieces, key=lambda each: (each.kind != SECRET, each.start - each.end, each.start)):
            if all(piece.end <= other.start or other.end <= piece.start for other in chosen):
                chosen.append(piece)
        parts, end = [], 0
        for piece in sorted(chosen, key=lambda each: each.start):
            parts += [text[end : piece.start], self._placeholder(piece.kind, text[piece.start : piece.end])]
            end = piece.end
            self.counts[piece.kind] += 1
        return "".join([*parts, text[end:]])

    def replace_known(self, text: str) -> str:
        """Return `text` with every value that was replaced elsewhere replaced here too."""
        for (_, value), name in sorted(self._names.items(), key=lambda item: -len(item[0][1])):
            text = text.replace(value, name)
        return text

    def values(self, kinds: Iterable[str]) -> dict[str, str]:
        """Return the values of these kinds by placeholder; never a secret."""
        allowed = set(kinds) - {SECRET}
        return {name: value for (kind, value), name in self._names.items() if kind in allowed}

    def _placeholder(self, kind: str, value: str) -> str:
        name = self._names.get((kind, value))
        while name is None or (name in self._taken and (kind, value) not in self._names):
            self._numbers[kind] += 1
            name = f"<{kind}_{self._numbers[kind]}>"
        self._names[kind, value] = name
        return name


def restore(text: str, values: Mapping[str, str]) -> str:
    """Return `text` with the values back in the place of their placeholders."""
    if not values:
        return text
    # One pass: a value that looks like a placeholder is not replaced again.
    return _PLACEHOLDER.sub(lambda match: values.get(match.group(), match.group()), text)
