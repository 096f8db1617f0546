"""The reflex layer: what is answered, refused or cleaned before anything is planned."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from orchestai.contracts.base import Record

PiiKind = Literal[
    "EMAIL",
    "PHONE",
    "CREDIT_CARD",
    "IBAN",
    "SSN",
    "IP_ADDRESS",
    "DRIVER_LICENSE",
    "STREET_ADDRESS",
    "PERSON",
    "ORGANIZATION",
    "LOCATION",
    "ZIP_CODE",
    "DATE_TIME",
    "AGE",
    "TITLE",
    "NATIONALITY",
    "URL",
]

_REDACTED: tuple[PiiKind, ...] = (
    "EMAIL",
    "PHONE",
    "CREDIT_CARD",
    "IBAN",
    "SSN",
    "IP_ADDRESS",
    "DRIVER_LICENSE",
)
_RESTORED: tuple[PiiKind, ...] = ("EMAIL", "PHONE", "IP_ADDRESS", "STREET_ADDRESS", "PERSON", "LOCATION", "ZIP_CODE")


class CacheConfig(Record):
    """Answers to instructions that come again word for word.

    Attributes:
        max_entries: Answers kept; the one that was used longest ago goes first. 0 keeps none.
        ttl_s: Seconds after which an answer is too old.
        max_answer_chars: Longer answers are not kept.
    """

    max_entries: int = Field(default=10_000, ge=0)
    ttl_s: float = Field(default=3_600.0, gt=0)
    max_answer_chars: int = Field(default=100_000, ge=1)


class NearHitConfig(Record):
    """Answers to instructions that say the same in slightly other words.

    Attributes:
        enabled: Whether to look for them.
        similarity: Cosine that must be passed; the lexical guard must agree as well.
        max_entries: Instructions kept a scope (tenant, model and prompt version, inputs).
    """

    enabled: bool = True
    similarity: float = Field(default=0.95, ge=0.9, lt=1)
    max_entries: int = Field(default=2_000, ge=1)


class InjectionConfig(Record):
    """Attempts to take the model over.

    Attributes:
        block: Whether an instruction that matches a certain pattern is refused (403).
        block_inputs: Whether the same pattern inside an input refuses the instruction too. By default it only
            gates external effects: people ask about suspicious mails.
        learned: Whether a learned score stands beside the patterns.
        threshold: Learned score (0 to 1) from which external effects wait; null takes the one chosen in training.
    """

    block: bool = True
    block_inputs: bool = False
    learned: bool = True
    threshold: float | None = Field(default=None, gt=0, lt=1)


class PiiConfig(Record):
    """Personal data: replaced by placeholders such as `<EMAIL_1>` before anything is logged or sent.

    Attributes:
        redact: Kinds that are replaced. Names and places are found too, but a model often needs them.
        restore: Kinds that may stand in the answer again; the others stay placeholders.
    """

    redact: tuple[PiiKind, ...] = _REDACTED
    restore: tuple[PiiKind, ...] = _RESTORED


class SecretsConfig(Record):
    """API keys, tokens and private keys: always replaced, never restored.

    Attributes:
        entropy_bits: Bits a character from which a value that is called a key or password counts as one.
        min_length: Shorter values do not count.
    """

    entropy_bits: float = Field(default=3.0, ge=1, le=6)
    min_length: int = Field(default=12, ge=6)


class ReflexLimitsConfig(Record):
    """What an instruction may hold (400 otherwise).

    Attributes:
        max_text_chars: Characters of the instruction.
        max_inputs: Number of inputs.
        max_input_chars: Characters of one input that is text.
        max_media_chars: Characters of one input that is a data URL.
        max_constraints: Number of constraints.
        max_constraint_chars: Characters of one constraint.
    """

    max_text_chars: int = Field(default=32_768, ge=1, le=32_768)
    max_inputs: int = Field(default=32, ge=0)
    max_input_chars: int = Field(default=262_144, ge=1)
    max_media_chars: int = Field(default=33_554_432, ge=1)
    max_constraints: int = Field(default=32, ge=0)
    max_constraint_chars: int = Field(default=2_000, ge=1)


class ReflexConfig(Record):
    """The reflex layer.

    Attributes:
        enabled: Whether instructions pass through it.
        engine: What searches for patterns; `auto` takes Hyperscan where it is installed. Both find the same.
        cache: Exact hits.
        near: Near hits.
        injection: Attempts to take the model over.
        pii: Personal data.
        secrets: Keys and tokens.
        limits: What an instruction may hold.
    """

    enabled: bool = True
    engine: Literal["auto", "hyperscan", "python"] = "auto"
    cache: CacheConfig = CacheConfig()
    near: NearHitConfig = NearHitConfig()
    injection: InjectionConfig = InjectionConfig()
    pii: PiiConfig = PiiConfig()
    secrets: SecretsConfig = SecretsConfig()
    limits: ReflexLimitsConfig = ReflexLimitsConfig()

    @model_validator(mode="after")
    def _check_redaction(self) -> Self:
        doubled = [kind for kind in self.pii.redact if self.pii.redact.count(kind) > 1]
        if doubled:
            raise ValueError(f"`pii.redact` names {doubled[0]} twice. Keep one.")
        return self
