"""The stages in their order: exact cache, injection, personal data, secrets, limits, near hit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from orchestai.config.reflex import ReflexConfig
from orchestai.contracts import AcceptanceCheck, Instruction
from orchestai.reflex.cache import ExactCache
from orchestai.reflex.counters import ReflexCounters
from orchestai.reflex.guard import canonical_words
from orchestai.reflex.injection import InjectionPatterns
from orchestai.reflex.injection_score import NEUTRAL, InjectionScore
from orchestai.reflex.keys import exact_key, is_cacheable, is_media, near_scope
from orchestai.reflex.limits import problems_of
from orchestai.reflex.near import NearEncoder, NearIndex
from orchestai.reflex.normalise import cache_text
from orchestai.reflex.pii import ALL_KINDS, PiiFinder
from orchestai.reflex.redact import SECRET, Piece, Redactor, restore
from orchestai.reflex.secret_patterns import SecretFinder
from orchestai.reflex.verdict import CacheKey, InjectionAssessment, ReflexVerdict, VerdictKind

_LOG = logging.getLogger(__name__)

REFUSED = (
    "The instruction looks like an attempt to change the rules of the system, so it was not run. "
    "Say what you need without telling the model to drop its instructions; quote text that you ask about."
)


class ReflexPipeline:
    """The fast guard before planning: no network, no file after it has been made, safe to share between threads.

    Args:
        config: What it does.
        score: The learned injection score; null takes the packaged one.
        encoder: Vectors for near hits; null takes hashed words. The lexical guard decides in any case.
        counters: Where to count; null makes new counters.
        clock: Monotonic seconds for ages.
    """

    def __init__(
        self,
        config: ReflexConfig | None = None,
        *,
        score: InjectionScore | None = None,
        encoder: NearEncoder | None = None,
        counters: ReflexCounters | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config if config is not None else ReflexConfig()
        self.counters = counters if counters is not None else ReflexCounters()
        self._cache = ExactCache(self.config.cache, clock=clock)
        self._near = NearIndex(self.config.near, ttl_s=self.config.cache.ttl_s, encoder=encoder, clock=clock)
        self._patterns = InjectionPatterns(self.config.engine)
        self._score = score if score is not None else InjectionScore()
        self._pii = PiiFinder(self.config.pii.redact, self.config.engine)
        self._secrets = SecretFinder(self.config.secrets, self.config.engine)

    def warm_up(self) -> None:
        """Load all weights now, so that the first instruction does not wait for them."""
        self._pii.warm_up()
        if self.config.injection.learned:
            self._score.warm_up()

    def check(self, instruction: Instruction, *, model_version: str, scored: bool = True) -> ReflexVerdict:
        """Return what is to become of `instruction`.

        Args:
            instruction: What the user asks.
            model_version: Everything of the system that the answer depends on: models and prompts with versions.
            scored: Whether the fast injection score is wanted; whoever calls `assess` can do without.
        """
        verdict = _Check(self, instruction, model_version, scored=scored).run()
        self._count(verdict)
        return verdict

    def assess(self, verdict: ReflexVerdict) -> InjectionAssessment:
        """Return the full injection score of a forwarded instruction.

        It takes some milliseconds more than the fast one: call it beside planning, and ask it before the first
        external effect.
        """
        fast = verdict.injection
        if not self.config.injection.learned or fast is None:
            return fast if fast is not None else InjectionAssessment(0.0, self.threshold, False, "none")
        instruction = verdict.instruction
        scores = {"text": self._score.of_text_fully(_written(instruction))}
        for name, value in instruction.inputs.items():
            if not is_media(name):
                scores["inputs"] = max(scores.get("inputs", 0.0), self._score.of_material_fully(value))
        if fast.source not in ("text", "inputs"):
            scores[fast.source] = fast.score
        source = max(scores, key=lambda name: scores[name])
        gated = scores[source] >= self.threshold
        if gated:
            self.counters.add("injection.gated")
        return InjectionAssessment(scores[source], self.threshold, gated, source)

    def store(self, verdict: ReflexVerdict, answer: str, *, judged: bool) -> bool:
        """Keep the answer to a forwarded instruction for the next time; say whether it was kept.

        Args:
            verdict: The verdict on the instruction.
            answer: The answer as the workers gave it, before `restore`.
            judged: Whether a check or a judge accepted it; nothing else is kept.
        """
        key = verdict.key
        # The key holds everything that the answer depends on, so what one user writes never answers another's text.
        wanted = judged and verdict.kind == "forwarded" and key is not None and key.cacheable
        kept = (
            wanted
            and key is not None
            and self._cache.put(
                key.exact, answer, verdict.pii, cleaned=verdict.instruction if verdict.redactions else None
            )
        )
        if kept and key is not None and key.text is not None:
            words = canonical_words(key.text)
            if words is not None:
                self._near.add(key.scope, words, key.text, key.exact)
        self.counters.add("stored" if kept else "not_stored")
        return kept

    def restore(self, verdict: ReflexVerdict, answer: str) -> str:
        """Return `answer` with the personal data that may be shown in the place of its placeholders."""
        allowed = self.config.pii.restore
        return restore(
            answer, {name: value for name, value in verdict.pii.items() if name[1:].rpartition("_")[0] in allowed}
        )

    def clear(self) -> None:
        """Forget all kept answers."""
        self._cache.clear()
        self._near.clear()

    @property
    def threshold(self) -> float:
        """Injection score from which external effects wait."""
        chosen = self.config.injection.threshold
        return chosen if chosen is not None else NEUTRAL

    @property
    def engine(self) -> str:
        """What searches for patterns: `hyperscan` or `python`."""
        return self._patterns.engine

    def _count(self, verdict: ReflexVerdict) -> None:
        names = {"hit": "hit", "near_hit": "near_hit", "blocked": "blocked", "forwarded": "passthrough"}
        self.counters.add(names[verdict.kind])
        if verdict.code is not None:
            self.counters.add(f"blocked.{verdict.code}")
        for kind, count in verdict.redactions.items():
            self.counters.add("secret" if kind == SECRET else f"pii.{kind}", count)


class _Check:
    """One pass of one instruction."""

    def __init__(self, pipeline: ReflexPipeline, instruction: Instruction, model_version: str, *, scored: bool) -> None:
        self._scored = scored
        self._pipeline = pipeline
        self._config = pipeline.config
        self._instruction = instruction
        self._version = model_version
        self._timings: dict[str, float] = {}
        self._began = self._last = time.perf_counter()
        self._key = ""
        self._pii: Mapping[str, str] = {}
        self._redactions: Mapping[str, int] = {}
        self._injection: InjectionAssessment | None = None
        self._pattern: str | None = None

    def run(self) -> ReflexVerdict:
        """Pass the stages until one decides."""
        if not self._config.enabled:
            return self._verdict("forwarded", self._instruction)
        found = self._look_up()
        if found is not None:
            return found
        # Limits come after the search in the documented order. What is too long is refused before it is searched,
        # for searching it is what the limit is there to prevent.
        problems = problems_of(self._instruction, self._config.limits)
        if not problems:
            refused = self._search_injection()
            if refused is not None:
                return refused
        sanitised = self._redact() if not problems else self._without_content()
        if problems:
            self._mark("schema")
            return self._verdict("blocked", sanitised, status=400, code="schema", reason=" ".join(problems))
        self._mark("schema")
        return self._look_near(sanitised)

    def _look_up(self) -> ReflexVerdict | None:
        self._key = exact_key(self._instruction, model_version=self._version)
        kept = self._pipeline._cache.get(self._key)
        self._mark("exact")
        if kept is None:
            return None
        self._pii = kept.pii
        return self._verdict("hit", self._cleaned_as(kept.cleaned), answer=kept.answer, key=CacheKey(self._key))

    def _search_injection(self) -> ReflexVerdict | None:
        config, pipeline = self._config.injection, self._pipeline
        materials = [value for name, value in self._instruction.inputs.items() if not is_media(name)]
        written = _written(self._instruction)
        own = pipeline._patterns.match(written)
        inside = None if own else next((name for each in materials if (name := pipeline._patterns.match(each))), None)
        self._pattern = own or inside
        if (own and config.block) or (inside and config.block and config.block_inputs):
            self._injection = InjectionAssessment(1.0, pipeline.threshold, True, self._pattern or "")
            self._mark("injection")
            # An alert names the pattern and the tenant, never the text.
            _LOG.warning(
                "injection blocked: pattern=%s tenant=%s instruction=%s",
                self._pattern,
                self._instruction.tenant,
                self._instruction.id,
            )
            return self._verdict("blocked", self._redact(), status=403, code="injection", reason=REFUSED)
        self._injection = self._assess_fast(written, materials)
        self._mark("injection")
        return None

    def _assess_fast(self, written: str, materials: list[str]) -> InjectionAssessment:
        pipeline = self._pipeline
        if self._pattern is not None:
            return InjectionAssessment(1.0, pipeline.threshold, True, self._pattern)
        if not self._config.injection.learned or not self._scored:
            return InjectionAssessment(0.0, pipeline.threshold, False, "text")
        score, source = pipeline._score.of_text(written), "text"
        for material in materials:
            inner = pipeline._score.of_material(material)
            if inner > score:
                score, source = inner, "inputs"
        return InjectionAssessment(score, pipeline.threshold, score >= pipeline.threshold, source)

    def _redact(self) -> Instruction:
        """Take personal data and secrets out of the text, the inputs, the constraints and the checks."""
        instruction = self._instruction
        texts = {"text": instruction.text}
        texts |= {f"inputs.{name}": value for name, value in instruction.inputs.items() if not is_media(name)}
        texts |= {f"constraints.{index}": value for index, value in enumerate(instruction.constraints)}
        # Both searches see the original: an address inside a URL with a password must not hide the password.
        pieces = {place: [Piece(*each) for each in self._pipeline._pii.find(text)] for place, text in texts.items()}
        self._mark("pii")
        for place, text in texts.items():
            pieces[place] += [Piece(SECRET, each.start, each.end) for each in self._pipeline._secrets.find(text)]
        redactor = Redactor(texts.values())
        if not any(pieces.values()):
            self._mark("secrets")
            return instruction
        clean = {place: redactor.redact(text, pieces[place]) for place, text in texts.items()}
        self._redactions = dict(redactor.counts)
        self._pii = MappingProxyType(redactor.values(ALL_KINDS))
        self._mark("secrets")
        return instruction.model_copy(
            update={
                "text": clean["text"],
                "inputs": {name: clean.get(f"inputs.{name}", value) for name, value in instruction.inputs.items()},
                "constraints": tuple(clean[f"constraints.{index}"] for index in range(len(instruction.constraints))),
                "acceptance": tuple(_clean_check(check, redactor) for check in instruction.acceptance),
            }
        )

    def _cleaned_as(self, cleaned: Instruction | None) -> Instruction:
        """Return this instruction with the content of its equal that went through all stages."""
        if cleaned is None:
            return self._instruction
        names = ("text", "inputs", "constraints", "acceptance")
        return self._instruction.model_copy(update={name: getattr(cleaned, name) for name in names})

    def _without_content(self) -> Instruction:
        """Return the instruction without what was not searched for personal data."""
        return self._instruction.model_copy(
            update={"text": "(refused before it was read)", "inputs": {}, "constraints": (), "acceptance": ()}
        )

    def _look_near(self, sanitised: Instruction) -> ReflexVerdict:
        pipeline, text = self._pipeline, cache_text(sanitised.text)
        # A secret is not in the map, so two instructions that differ in it alone would look equal.
        comparable = self._config.near.enabled and SECRET not in self._redactions
        key = CacheKey(
            exact=self._key,
            scope=near_scope(sanitised, model_version=self._version, pii=self._pii),
            cacheable=is_cacheable(self._instruction),
            text=text if comparable else None,
        )
        near = None
        if comparable and key.cacheable and pipeline._near.holds(key.scope):
            words = canonical_words(text)
            near = pipeline._near.find(key.scope, words, text) if words is not None else None
        kept = pipeline._cache.get(near.key) if near is not None else None
        self._mark("near")
        if near is None or kept is None:
            return self._verdict("forwarded", sanitised, key=key)
        _LOG.info(
            "near hit: similarity=%.4f variance=%.4f tenant=%s instruction=%s",
            near.similarity,
            near.variance,
            self._instruction.tenant,
            self._instruction.id,
        )
        return self._verdict(
            "near_hit", sanitised, answer=kept.answer, key=key, similarity=near.similarity, variance=near.variance
        )

    def _mark(self, stage: str) -> None:
        now = time.perf_counter()
        self._timings[stage] = self._timings.get(stage, 0.0) + (now - self._last) * 1_000
        self._last = now

    def _verdict(self, kind: VerdictKind, instruction: Instruction, **more: Any) -> ReflexVerdict:
        self._timings["total"] = (time.perf_counter() - self._began) * 1_000
        return ReflexVerdict(
            kind=kind,
            instruction=instruction,
            pii=self._pii,
            redactions=self._redactions,
            injection=self._injection,
            pattern=self._pattern,
            timings_ms=self._timings,
            **more,
        )


def _written(instruction: Instruction) -> str:
    """Return what the user wrote: the text and the constraints."""
    return "\n".join([instruction.text, *instruction.constraints])


def _clean_check(check: AcceptanceCheck, redactor: Redactor) -> AcceptanceCheck:
    """A check compares with the answer before data are put back, so it has to name placeholders too."""
    if check.kind not in ("contains", "contains_any", "equals"):
        return check
    return check.model_copy(
        update={
            "value": None if check.value is None else redactor.replace_known(check.value),
            "values": tuple(redactor.replace_known(value) for value in check.values),
        }
    )
