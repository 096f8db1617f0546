"""Makes a text that a regular expression finds, for the expressions that acceptance checks use.

No general inversion: literals, classes, repeats, alternation, groups, back references and positive
look-around are followed, anchors and negative look-around are left to luck, and the result is verified.
"""

from __future__ import annotations

import importlib
import random
import re
from typing import Any

_TRIES = 60
_SAMPLES_OF_CLASS = {"DIGIT": "0123456789", "WORD": "abcdefgh0123", "SPACE": " "}
_SAMPLES_OF_NEGATED_CLASS = {"NOT_DIGIT": "abcdef -", "NOT_WORD": " -.,", "NOT_SPACE": "abcdef01"}
_ANY = "abcdefgh 0123"


def sample_match(pattern: str) -> str | None:
    """Return a short text in which `re.search(pattern, text)` succeeds, or None if none was found."""
    try:
        # CPython keeps its parser private; this build targets one Python version, and the
        # result is verified, so a change there can only lead to None.
        parsed = importlib.import_module("re._parser").parse(pattern)
    except (re.error, ImportError, AttributeError, RecursionError):
        return None
    for attempt in range(_TRIES):
        sampler = _Sampler(random.Random(attempt), shortest=attempt == 0)
        try:
            text = sampler.sequence(parsed)
        except (KeyError, RecursionError, ValueError, TypeError):
            return None
        if text.strip() and re.search(pattern, text):
            return text
    return None


class _Sampler:
    def __init__(self, rng: random.Random, *, shortest: bool) -> None:
        self._rng = rng
        self._shortest = shortest
        self._groups: dict[int, str] = {}

    def sequence(self, items: Any) -> str:
        return "".join(self._item(operation.name, argument) for operation, argument in items)

    def _item(self, operation: str, argument: Any) -> str:  # noqa: C901 - one line an opcode
        match operation:
            case "LITERAL":
                return chr(argument)
            case "NOT_LITERAL":
                return self._rng.choice([char for char in _ANY if ord(char) != argument])
            case "ANY":
                return self._rng.choice(_ANY)
            case "IN":
                return self._rng.choice(self._members(argument))
            case "BRANCH":
                branches = argument[1]
                return self.sequence(branches[0] if self._shortest else self._rng.choice(branches))
            case "SUBPATTERN":
                group, _added, _removed, inner = argument
                text = self.sequence(inner)
                if group is not None:
                    self._groups[group] = text
                return text
            case "ATOMIC_GROUP":
                return self.sequence(argument)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                low, high, inner = argument
                more = 0 if self._shortest else self._rng.randint(0, 2)
                return "".join(self.sequence(inner) for _ in range(min(low + more, int(high))))
            case "GROUPREF":
                return self._groups[argument]
            case "GROUPREF_EXISTS":
                group, yes, no = argument
                return self.sequence(yes if group in self._groups else no or ())
            case "ASSERT":
                # Conjunctions like (?=.*a)(?=.*b): writing all parts one after the other meets them.
                return self.sequence(argument[1])
            case "AT" | "ASSERT_NOT":
                return ""
        raise KeyError(operation)

    def _members(self, items: Any) -> list[str]:
        members: list[str] = []
        negated = False
        for operation, argument in items:
            match operation.name:
                case "NEGATE":
                    negated = True
                case "LITERAL":
                    members.append(chr(argument))
                case "RANGE":
                    low, high = argument
                    members.extend(chr(code) for code in range(low, min(high, low + 64) + 1))
                case "CATEGORY":
                    name = argument.name.removeprefix("CATEGORY_")
                    members.extend((_SAMPLES_OF_CLASS | _SAMPLES_OF_NEGATED_CLASS)[name])
        if negated:
            allowed = [char for char in _ANY + "-.,;:!xyzXYZ" if char not in members]
            return allowed or [" "]
        return members
