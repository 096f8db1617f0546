"""Whether an instruction goes to the planner or straight to one worker: the criteria of the OctoLLM document."""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestai.contracts import Instruction

MAX_CONSTRAINTS = 3
MAX_STEPS = 5

# Words that part one step from the next.
_STEP = re.compile(
    r"(?:^|\n)\s*(?:\d{1,2}[.)]|[-*•])\s+\S|;\s+\S|"
    r"\b(?:and then|then|after that|afterwards|next|finally|lastly|in addition|additionally|also|first of all|"
    r"secondly|thirdly|danach|anschließend|schließlich|luego|después|ensuite|puis|enfin)\b",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"\b(?:and|,)\s+(?:then\s+)?(?:add|analy[sz]e|answer|calculate|check|classify|compare|compute|convert|count|create|"
    r"describe|draft|evaluate|explain|extract|find|format|generate|identify|list|make|plan|prepare|propose|rank|"
    r"rewrite|send|sort|suggest|summari[sz]e|test|transcribe|translate|write)\b",
    re.IGNORECASE,
)
_DEPENDS = re.compile(
    r"\b(?:based on (?:the|that|this|these|those|its|their)|using the (?:result|results|output|outputs|answer)|"
    r"depending on|for each of (?:the|these|those|them)|from the (?:result|results|output|previous)|only if|"
    r"if (?:it|they|that|this|not|so|any|none)\b|otherwise|in parallel|once (?:that|this|it) is done|"
    r"compare (?:both|the two|the results|them)|merge (?:both|the|them)|combine (?:both|the|them)|"
    r"with the (?:result|results|output) of|the former|the latter)\b",
    re.IGNORECASE,
)
_DOMAINS: dict[str, re.Pattern[str]] = {
    "medicine": re.compile(
        r"\b(?:diagnos\w+|dosage|contraindicat\w+|patholog\w+|oncolog\w+|clinical trial|icd-10|differential)\b", re.I
    ),
    "law": re.compile(
        r"\b(?:jurisdiction|statut\w+|plaintiff|tort|case law|gdpr|liabilit\w+|indemnit\w+|arbitration)\b", re.I
    ),
    "finance": re.compile(
        r"\b(?:ebitda|derivative pricing|black-scholes|ifrs|gaap|hedg(?:e|ing)|amorti[sz]ation|net present value)\b",
        re.I,
    ),
    "science": re.compile(
        r"\b(?:quantum|genom\w+|stoichiometr\w+|thermodynamic\w*|eigenvalue\w*|spectroscop\w+)\b", re.I
    ),
    "engineering": re.compile(
        r"\b(?:kubernetes|race condition|deadlock|compiler|cryptograph\w+|finite element|plc program\w*)\b", re.I
    ),
}


@dataclass(frozen=True)
class RouteDecision:
    """Where an instruction goes.

    Attributes:
        planner: Whether the planner makes a plan; otherwise one worker answers directly.
        reasons: Which criteria were met.
        steps: Estimated number of steps.
    """

    planner: bool
    reasons: tuple[str, ...]
    steps: int


def decide_route(instruction: Instruction, *, steps: int | None = None) -> RouteDecision:
    """Choose between planner and direct answer.

    The planner is asked for more than three constraints, high priority, more than five steps, complex dependencies
    between steps, or a specialised domain.

    Args:
        instruction: What the user asks.
        steps: Number of steps where something better than the words knows it, such as a predicted plan.
    """
    count = estimate_steps(instruction) if steps is None else steps
    domains = specialised_domains(instruction.text)
    met = {
        f"{len(instruction.constraints)} constraints": len(instruction.constraints) > MAX_CONSTRAINTS,
        "high priority": instruction.priority == "high",
        f"{count} steps": count > MAX_STEPS,
        "complex dependencies": has_complex_dependencies(instruction.text),
        f"specialised domain: {', '.join(domains)}": bool(domains),
    }
    reasons = tuple(reason for reason, holds in met.items() if holds)
    return RouteDecision(planner=bool(reasons), reasons=reasons, steps=count)


def estimate_steps(instruction: Instruction) -> int:
    """Estimate how many steps an instruction has, from its list marks, linking words and orders."""
    text = instruction.text
    marks = {match.start() for match in _STEP.finditer(text)}
    verbs = {match.start() for match in _VERB.finditer(text)}
    # "and then translate" is one step, whichever pattern sees it.
    apart = [verb for verb in verbs if all(abs(verb - mark) > 8 for mark in marks)]
    return max(1, 1 + len(marks) + len(apart) - (1 if _begins_with_list(text) else 0))


def has_complex_dependencies(text: str) -> bool:
    """Say whether at least two phrases make a step depend on the outcome of another."""
    return len(_DEPENDS.findall(text)) >= 2


def specialised_domains(text: str) -> tuple[str, ...]:
    """Return the domains whose terms of art the text uses."""
    return tuple(name for name, pattern in _DOMAINS.items() if pattern.search(text))


def _begins_with_list(text: str) -> bool:
    return re.match(r"\s*(?:\d{1,2}[.)]|[-*•])\s+", text) is not None
