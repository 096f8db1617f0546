"""Free texts of plans and records as the few words that may stand in a label."""

from __future__ import annotations

from functools import cache

from orchestai import errors

OTHER = "other"

_FALLBACKS = (
    ("learned confidence", "learned_unsure"),
    ("LLM planner: no plan within", "llm_too_slow"),
    ("LLM planner:", "llm_failed"),
)


def fallback_reasons(text: str | None) -> list[str]:
    """Return one word a planner that gave way; see `HybridPlanner.plan`, which writes the text."""
    if not text:
        return []
    # An LLM's error message may hold semicolons: each kind counts once.
    found = [next((word for start, word in _FALLBACKS if part.startswith(start)), None) for part in text.split("; ")]
    return list(dict.fromkeys(word for word in found if word)) or [OTHER]


def error_code(text: str | None) -> str:
    """Return the code at the head of a record's error (`code: message`)."""
    code = (text or "").partition(":")[0]
    return code if code in _codes() else OTHER


@cache
def _codes() -> frozenset[str]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return frozenset(kind.code for kind in kinds if issubclass(kind, errors.OrchestAIError))
