"""One answer out of many: by vote, by weighted vote, as an average, or the best by a judge."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from orchestai.contracts.base import Record

_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
_PLAIN = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d+)?")


class Opinion(Record):
    """One arm's answer.

    Attributes:
        arm: Who gave it.
        content: What it says.
        confidence: How sure the arm is.
    """

    arm: str
    content: Any
    confidence: float = Field(default=0.5, ge=0, le=1)


class Consensus(Record):
    """What many answers come to.

    Attributes:
        content: The common answer; the wording is that of the surest arm behind it.
        confidence: How sure it is, between 0 and 1.
        arms: Who is behind it.
    """

    content: Any
    confidence: float = Field(ge=0, le=1)
    arms: tuple[str, ...]


def vote(opinions: Sequence[Opinion]) -> Consensus:
    """Return the answer that most arms gave; its confidence is their share.

    Answers are equal if they differ in case, white space, quotes and closing punctuation only, or are the same
    JSON or number. Equal counts go by the sum of confidences, then to whoever was asked first.
    """
    return _elect(opinions, {opinion.arm: 1.0 for opinion in opinions})


def weighted_vote(opinions: Sequence[Opinion], weights: Mapping[str, float] | None = None) -> Consensus:
    """Return the answer with the greatest weight behind it; its confidence is its share of all weight.

    Args:
        opinions: The answers.
        weights: Weight by arm, for example learned ones; null weighs each answer by its confidence.
    """
    return _elect(opinions, weights or {opinion.arm: opinion.confidence for opinion in opinions})


def average(opinions: Sequence[Opinion], weights: Mapping[str, float] | None = None) -> Consensus | None:
    """Return the weighted mean of the answers that are numbers, or null if none is.

    An answer is a number if it is nothing else, or if it holds exactly one. The confidence is the weighted mean
    of theirs, times the share of the weight whose answers were numbers.

    Args:
        opinions: The answers.
        weights: Weight by arm; null means equal weights.
    """
    read = [(opinion, number) for opinion in opinions if (number := _number(opinion.content)) is not None]
    share = {opinion.arm: 1.0 if weights is None else weights[opinion.arm] for opinion in opinions}
    total = sum(share[opinion.arm] for opinion, _ in read)
    if not read or total <= 0:
        return None
    mean = math.fsum(share[opinion.arm] * number for opinion, number in read) / total
    sure = math.fsum(share[opinion.arm] * opinion.confidence for opinion, _ in read)
    return Consensus(
        content=mean,
        confidence=min(sure / math.fsum(share.values()), 1.0),
        arms=tuple(opinion.arm for opinion, _ in read),
    )


def normalised(content: Any) -> str:
    """Return the form in which equal answers are equal texts."""
    number = _plain_number(content)
    if number is not None:
        return repr(number)
    value = content
    if isinstance(content, str):
        text = " ".join(unicodedata.normalize("NFKC", content).split())
        if not text.startswith(("{", "[")):
            return text.strip("\"'`*_ ").rstrip(".!?;, ").strip("\"'`*_ ").casefold()
        try:
            value = json.loads(text)
        except ValueError:
            return text.casefold()
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _elect(opinions: Sequence[Opinion], weights: Mapping[str, float]) -> Consensus:
    camps: dict[str, list[Opinion]] = {}
    for opinion in opinions:
        camps.setdefault(normalised(opinion.content), []).append(opinion)

    def strength(camp: list[Opinion]) -> tuple[float, float]:
        return math.fsum(weights[o.arm] for o in camp), math.fsum(o.confidence for o in camp)

    winner = max(camps.values(), key=strength)  # of equals the first, and camps are in the order of the arms
    total = math.fsum(weights[opinion.arm] for opinion in opinions)
    speaker = max(winner, key=lambda opinion: opinion.confidence)
    return Consensus(
        content=speaker.content,
        confidence=min(strength(winner)[0] / total, 1.0) if total > 0 else 0.0,
        arms=tuple(opinion.arm for opinion in winner),
    )


def _plain_number(content: Any) -> float | None:
    if isinstance(content, bool):
        return None
    if isinstance(content, int | float):
        return float(content) if math.isfinite(content) else None
    text = str(content).strip().rstrip(".") if isinstance(content, str) else ""
    if not text or _PLAIN.fullmatch(text) is None:
        return None
    return _to_float(text)


def _number(content: Any) -> float | None:
    plain = _plain_number(content)
    if plain is not None or not isinstance(content, str):
        return plain
    found = _NUMBER.findall(content)
    return _to_float(found[0]) if len(found) == 1 else None


def _to_float(text: str) -> float | None:
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
