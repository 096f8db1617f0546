"""Which of many patterns occur in a text: one Hyperscan pass, or Python's `re` one by one, with equal results.

Hyperscan is asked only whether a pattern occurs; where it occurs is then looked up with `re`, for the few
patterns that do. So both engines report the same spans by construction, as long as Hyperscan never misses a
pattern: patterns are compiled in prefilter mode, which promises a superset, and with ASCII classes on both sides.
"""

from __future__ import annotations

import importlib.util
import re
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

_COUNTED = re.compile(r"(?<!\\)\{(\d+)(?:,\d*)?\}")
_REPEATED_GROUP = re.compile(r"(?<!\\)\)(?:\*|\{\d+(?:,\d*)?\})")

Engine = Literal["auto", "hyperscan", "python"]


class Match(NamedTuple):
    """One occurrence.

    Attributes:
        name: Name of the pattern.
        start: First character.
        end: Character after the last.
        text: What matched.
    """

    name: str
    start: int
    end: int
    text: str


class PatternScanner:
    """A fixed set of named regular expressions.

    A pattern's group `value`, where it has one, is what is reported instead of the whole match.

    Args:
        patterns: Regular expression by name, in the syntax that `re` and Hyperscan share.
        engine: `auto` takes Hyperscan where it is installed.
    """

    def __init__(self, patterns: Mapping[str, str], *, engine: Engine = "auto") -> None:
        self._names = list(patterns)
        self._compiled = [re.compile(patterns[name], re.ASCII) for name in self._names]
        self._grouped = ["value" in pattern.groupindex for pattern in self._compiled]
        available = importlib.util.find_spec("hyperscan") is not None
        if engine == "hyperscan" and not available:
            raise ModuleNotFoundError("`engine: hyperscan` needs the package hyperscan. Install it or use `auto`.")
        self.engine: Literal["hyperscan", "python"] = "hyperscan" if engine != "python" and available else "python"
        self._prefilter = _prefilter(tuple(patterns.values())) if self.engine == "hyperscan" else None

    def find(self, text: str) -> list[Match]:
        """Return all matches, pattern by pattern."""
        return [match for index in self._candidates(text) for match in self._occurrences(index, text)]

    def names(self, text: str) -> list[str]:
        """Return the names of the patterns that occur."""
        return [self._names[index] for index in self._candidates(text) if self._compiled[index].search(text)]

    def _candidates(self, text: str) -> list[int]:
        return self._prefilter.candidates(text) if self._prefilter is not None else list(range(len(self._names)))

    def _occurrences(self, index: int, text: str) -> Iterator[Match]:
        group = "value" if self._grouped[index] else 0
        for match in self._compiled[index].finditer(text):
            start, end = match.span(group)
            if end > start:
                yield Match(self._names[index], start, end, text[start:end])


@lru_cache(maxsize=16)
def _prefilter(expressions: tuple[str, ...]) -> _Prefilter:
    """Compile once a process: it takes tenths of a second, and every pipeline has the same patterns."""
    return _Prefilter(list(expressions))


class _Prefilter:
    """Says which patterns may occur. One scratch space a thread: Hyperscan's must not be shared."""

    def __init__(self, expressions: list[str]) -> None:
        import hyperscan

        self._local = threading.local()
        flags = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_PREFILTER | hyperscan.HS_FLAG_ALLOWEMPTY
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=[_loosened(each).encode() for each in expressions],
            ids=list(range(len(expressions))),
            flags=[flags] * len(expressions),
        )

    def candidates(self, text: str) -> list[int]:
        found: list[int] = []

        def matched(pattern: int, _start: int, _end: int, _flags: int, _context: Any) -> None:
            found.append(pattern)

        self._database.scan(text.encode("utf-8", "replace"), match_event_handler=matched, scratch=self._scratch())
        return sorted(set(found))

    def _scratch(self) -> Any:
        scratch = getattr(self._local, "scratch", None)
        if scratch is None:
            import hyperscan

            scratch = self._local.scratch = hyperscan.Scratch(self._database)
        return scratch


def _loosened(expression: str) -> str:
    r"""Return an expression that matches wherever `expression` does.

    Repeated groups become "anything". Bytes are no characters, so a class must not name characters beyond ASCII; a
    negated class, `.` and `\S` may match them only under a repeat, which a longer run of bytes then satisfies.
    """
    plain = expression.replace("(?P<value>", "(?:")
    while (repeat := _REPEATED_GROUP.search(plain)) is not None:
        start = _opening(plain, repeat.start())
        plain = f"{plain[:start]}(?s:.*){plain[repeat.end() :]}"
    return _COUNTED.sub(lambda match: "*" if int(match.group(1)) == 0 else "+", plain)


def _opening(expression: str, closing: int) -> int:
    """Return where the group that ends at `closing` begins; classes hold no bare parentheses by our own rule."""
    depth = 0
    for position in range(closing, -1, -1):
        escaped = position > 0 and expression[position - 1] == "\\"
        if expression[position] == ")" and not escaped:
            depth += 1
        elif expression[position] == "(" and not escaped:
            depth -= 1
            if depth == 0:
                return position
    raise ValueError(f"the group that ends at {closing} in {expression!r} has no beginning.")
