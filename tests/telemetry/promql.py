"""Enough of PromQL to say which metrics and labels an expression names, and whether its brackets match."""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<range>\[[^\]]*\])
      | (?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?[smhdwy]?)
      | (?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
      | (?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^<>=(){},])
      | (?P<space>\s+)""",
    re.VERBOSE,
)
FUNCTIONS = {"rate", "increase", "histogram_quantile", "deriv", "time", "label_values", "scalar"}
AGGREGATIONS = {"sum", "max", "min", "avg", "count"}
_WORDS = {"by", "without", "and", "or", "unless", "on", "ignoring", "offset"}
_RANGE = re.compile(r"\[(\d+[smhdw]|\$__rate_interval)\]")


class Selector(NamedTuple):
    """A metric and the labels that are asked of it."""

    metric: str
    labels: frozenset[str]


class Expression(NamedTuple):
    """What an expression names: metrics with the labels they are selected by, and labels it groups by."""

    selectors: list[Selector]
    grouped_by: set[str]


def read(text: str) -> Expression:
    """Take an expression apart; `ValueError` says what is wrong with it."""
    tokens = _tokens(text)
    _check_brackets(tokens, text)
    selectors: list[Selector] = []
    grouped: set[str] = set()
    position = 0
    while position < len(tokens):
        kind, token = tokens[position]
        following = tokens[position + 1][1] if position + 1 < len(tokens) else ""
        position += 1
        if kind == "range" and _RANGE.fullmatch(token) is None:
            raise ValueError(f"{token!r} is no range in {text!r}")
        if kind != "word":
            continue
        if token in ("by", "without", "on", "ignoring"):
            words, position = _words_until(tokens, position, ")")
            grouped |= words
        elif token in FUNCTIONS | AGGREGATIONS:
            if following != "(" and not (token in AGGREGATIONS and following in ("by", "without")):
                raise ValueError(f"{token!r} is not called in {text!r}")
        elif token not in _WORDS:
            if following == "(":
                raise ValueError(f"the function {token!r} is unknown in {text!r}")
            labels: set[str] = set()
            if following == "{":
                labels, position = _words_until(tokens, position, "}")
            selectors.append(Selector(token, frozenset(labels)))
    return Expression(selectors, grouped)


def _words_until(tokens: list[tuple[str, str]], start: int, last: str) -> tuple[set[str], int]:
    end = next(i for i in range(start, len(tokens)) if tokens[i][1] == last)
    return {word for kind, word in tokens[start:end] if kind == "word"}, end + 1


def _check_brackets(tokens: list[tuple[str, str]], text: str) -> None:
    depth: list[str] = []
    for kind, token in tokens:
        if kind == "sign" and token in "({":
            depth.append(token)
        elif kind == "sign" and token in ")}" and (not depth or depth.pop() + token not in ("()", "{}")):
            raise ValueError(f"brackets do not match in {text!r}")
    if depth:
        raise ValueError(f"brackets do not match in {text!r}")


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"{text[position : position + 10]!r} is no PromQL in {text!r}")
        if match.lastgroup != "space":
            tokens.append((str(match.lastgroup), match.group()))
        position = match.end()
    return tokens
