"""The answers that simulated workers know: right by construction, found by the text that asks for them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping

from orchestai.contracts import AcceptanceCheck, judge_answer
from orchestai.simulator.regex_sampler import sample_match

_SPACE = re.compile(r"\s+")


def reference_answer(checks: Iterable[AcceptanceCheck]) -> str | None:
    """Return an answer that meets all `checks`, or None if there are none or no such answer was found.

    It is built from the checks' own values and then judged by them: what is returned has passed.
    """
    checks = tuple(checks)
    if not checks:
        return None
    pieces = _pieces(checks)
    if pieces is None:
        return None
    for candidate in _candidates(checks, pieces):
        if all(result.held for result in judge_answer(checks, candidate)):
            return candidate
    return None


def _pieces(checks: tuple[AcceptanceCheck, ...]) -> list[str] | None:
    pieces: list[str] = []
    for check in checks:
        value = check.value or ""
        match check.kind:
            case "contains" | "equals":
                piece: str | None = value
            case "contains_any":
                piece = check.values[0]
            case "matches":
                # What the other checks bring along may already match.
                piece = "" if re.search(value, "\n".join(pieces)) else sample_match(value)
            case _:
                piece = ""
        if piece is None:
            return None
        if piece and not any(piece.casefold() in other.casefold() for other in pieces):
            pieces = [other for other in pieces if other.casefold() not in piece.casefold()] + [piece]
    return pieces


def _candidates(checks: tuple[AcceptanceCheck, ...], pieces: list[str]) -> Iterator[str]:
    forms = {check.value for check in checks if check.kind == "parses"}
    exact = [check.value or "" for check in checks if check.kind == "equals"]
    orders = [list(order) for order in itertools.islice(itertools.permutations(pieces), 24)]
    yield from exact
    if "json" in forms:
        for order in orders:
            yield from _json_candidates(order)
    elif "python" in forms:
        for order in orders:
            yield from _python_candidates(order)
    elif "number" in forms:
        yield from pieces or ["42"]
    else:
        for order in orders:
            for glue in ("\n", " ", "", ", "):
                yield glue.join(order)


def _json_candidates(pieces: list[str]) -> Iterator[str]:
    def dump(value: object) -> str:
        return json.dumps(value, ensure_ascii=False)

    joined = ", ".join(pieces)
    yield joined
    # Pieces such as `"name": "Ada"` are members of an object, others are values.
    members = [
        piece if ":" in piece and '"' in piece else f'"field_{number}": {dump(piece)}'
        for number, piece in enumerate(pieces)
    ]
    yield "{" + ", ".join(members) + "}"
    yield "{" + ", ".join(f"{piece}: 1" if piece.startswith('"') else dump(piece) for piece in pieces) + "}"
    yield dump({piece.strip('"'): None for piece in pieces})
    yield dump({"answer": joined})
    yield "[" + joined + "]"
    yield dump(pieces)


def _python_candidates(pieces: list[str]) -> Iterator[str]:
    joined = "\n".join(pieces)
    yield joined
    comments = "".join(f"# {line}\n" for line in joined.splitlines())
    functions = [piece for piece in pieces if piece.strip().startswith(("def ", "class "))]
    for head in functions:
        name = re.sub(r"[(:].*", "", head.strip())
        yield f"{comments}{name}{'()' if name.startswith('def ') else ''}:\n    pass\n"
    yield f"{comments}answer = {joined!r}\n"


class ReferenceBook(Mapping[str, str]):
    """Reference answers by the text that asks for them: an instruction, or a sub-task's description.

    A prompt may show several such texts; the longest one decides. Differences of white space do not count,
    because templates indent what they quote.

    Args:
        answers: Accepted answer by text.
    """

    def __init__(self, answers: Mapping[str, str] | None = None) -> None:
        self._answers = {key: value for key, value in (answers or {}).items() if key.strip()}
        folded = {_fold(text): text for text in self._answers}
        self._by_length = sorted(folded.items(), key=lambda item: -len(item[0]))

    def __getitem__(self, text: str) -> str:
        return self._answers[text]

    def __iter__(self) -> Iterator[str]:
        return iter(self._answers)

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, prompt: str) -> str | None:
        """Return the longest known text that occurs in `prompt`, if any."""
        folded = _fold(prompt)
        for key, text in self._by_length:
            if key in folded:
                return text
        return None


def _fold(text: str) -> str:
    return _SPACE.sub(" ", text).strip()
