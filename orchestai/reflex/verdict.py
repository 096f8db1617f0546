"""What the reflex layer says of an instruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from orchestai.contracts import Instruction

VerdictKind = Literal["hit", "near_hit", "blocked", "forwarded"]


class InjectionAssessment(NamedTuple):
    """How likely it is that somebody tries to take the model over.

    Attributes:
        score: Between 0 and 1.
        threshold: From here on external effects wait.
        gated: Whether external effects have to wait for a person.
        source: Where the highest score comes from: `text`, `inputs`, or the name of a pattern.
    """

    score: float
    threshold: float
    gated: bool
    source: str


@dataclass(frozen=True)
class CacheKey:
    """Under which key an answer is kept.

    Attributes:
        exact: Hash of tenant, session, version, normalised text, inputs, constraints and checks.
        scope: The same without the text, but with the personal data that it names: near hits stay within it.
        cacheable: Whether an answer may be kept at all: a path may hold another file tomorrow.
        text: Normalised, sanitised text, for near hits; null where nothing near may answer.
    """

    exact: str
    scope: str = ""
    cacheable: bool = True
    text: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class ReflexVerdict:
    """The verdict on one instruction.

    Attributes:
        kind: `hit` and `near_hit` carry an answer, `blocked` a status and a reason; `forwarded` goes on.
        instruction: The instruction without personal data and secrets: what may be logged and sent.
        status: HTTP status that fits: 200, 403 (injection) or 400 (limits).
        code: Stable name of the reason: `injection` or `schema`.
        reason: Rule, value and remedy for the user; names no pattern, so that nobody tunes an attack on it.
        answer: The kept answer, with placeholders: `ReflexPipeline.restore` puts the data back.
        pii: Personal data by placeholder. Keep it in memory only.
        redactions: How many pieces were replaced, by kind.
        injection: Score of the fast model; `ReflexPipeline.assess` gives the full one.
        pattern: Name of the injection pattern that matched, for the alert.
        similarity: Cosine of the near hit.
        variance: How far the wording of a near hit is from the kept one: 1 minus the cosine of the raw texts.
        timings_ms: Milliseconds by stage, and `total`.
        key: Under which key an answer would be kept.
    """

    kind: VerdictKind
    instruction: Instruction
    status: int = 200
    code: str | None = None
    reason: str | None = None
    answer: str | None = None
    pii: Mapping[str, str] = field(default_factory=dict, repr=False)
    redactions: Mapping[str, int] = field(default_factory=dict)
    injection: InjectionAssessment | None = None
    pattern: str | None = None
    similarity: float | None = None
    variance: float | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    key: CacheKey | None = field(default=None, repr=False)

    @property
    def injection_score(self) -> float:
        """Score of the fast model, 0 where none was asked."""
        return self.injection.score if self.injection is not None else 0.0

    @property
    def allows_effects(self) -> bool:
        """Whether the fast score lets external effects pass; the full assessment may still hold them."""
        return self.injection is None or not self.injection.gated
