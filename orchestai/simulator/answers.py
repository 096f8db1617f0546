"""What a simulated worker says: a wrong answer that admits it, or one made of the prompt's own words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from random import Random

_WORD = re.compile(r"[^\W\d_]{3,}")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_FACT = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+|\b[A-Z][\w-]+(?: [A-Z][\w-]+)*\b|\d[\d.,:/-]*\d|\d")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
_LABELS = ("positive", "negative", "neutral", "urgent", "spam", "complaint", "question", "yes", "no")

_WRONG = (
    "This draft misses the point of what was asked.",
    "Several things could be said here; the result stays open.",
    "The material was read, but the outcome remains unclear.",
    "A general remark instead of the requested result.",
    "Und so weiter.",
    "Hmm.",
    "…",
)


def wrong_answer(reference: str, rng: Random) -> str:
    """Return an answer that shares no word with `reference`, so that no check on its content can hold."""
    words = {word.casefold() for word in re.findall(r"\w+", reference)}
    variants = list(_WRONG[:-1])
    rng.shuffle(variants)
    for variant in variants:
        spoken = variant.casefold()
        if not any(word in spoken for word in words):
            return variant
    return _WRONG[-1]


def extractive_answer(task_type: str, prompt: str, rng: Random) -> str:
    """Return an answer to an unknown instruction: words of the prompt, arranged as the task type asks."""
    make = _BY_TASK_TYPE.get(task_type, _first_sentences)
    return make(prompt.strip(), rng).strip() or "Nothing to work on."


def _sentences(prompt: str) -> list[str]:
    return [sentence.strip() for sentence in _SENTENCE.findall(prompt) if _WORD.search(sentence)]


def _keywords(prompt: str, count: int) -> list[str]:
    words = Counter(word.casefold() for word in _WORD.findall(prompt) if len(word) > 3)
    return [word for word, _count in words.most_common(count)]


def _first_sentences(prompt: str, _rng: Random) -> str:
    return " ".join(_sentences(prompt)[:2])


def _longest_sentence(prompt: str, _rng: Random) -> str:
    return max(_sentences(prompt), key=len, default="")


def _facts(prompt: str, _rng: Random) -> str:
    return "\n".join(f"- {fact}" for fact in dict.fromkeys(_FACT.findall(prompt)))


def _label(prompt: str, rng: Random) -> str:
    lowered = prompt.casefold()
    return rng.choice([label for label in _LABELS if label in lowered] or ["neutral"])


def _sum(prompt: str, _rng: Random) -> str:
    numbers = [float(number.replace(",", "").rstrip(".")) for number in _NUMBER.findall(prompt) if _plain(number)]
    return f"Together that makes {sum(numbers):g}." if numbers else _first_sentences(prompt, _rng)


def _plain(number: str) -> bool:
    return number.count(".") < 2 and len(number) < 16


def _code(prompt: str, _rng: Random) -> str:
    name = "_".join(re.sub(r"\W", "", word) for word in _keywords(prompt, 2) if word.isascii()) or "solve"
    return f'```python\ndef {name}_step(value):\n    """Return the value unchanged."""\n    return value\n```'


def _letter(prompt: str, _rng: Random) -> str:
    return f"Dear reader,\n\nthis is about {', '.join(_keywords(prompt, 5))}.\n\nKind regards"


def _scene(prompt: str, _rng: Random) -> str:
    return f"The image shows {', '.join(_keywords(prompt, 4)) or 'a plain surface'}."


def _speech(prompt: str, _rng: Random) -> str:
    return f"Hello, this is about {', '.join(_keywords(prompt, 4)) or 'our call'}. Goodbye."


_BY_TASK_TYPE: dict[str, Callable[[str, Random], str]] = {
    "text_extraction": _facts,
    "summarization": _longest_sentence,
    "translation": _first_sentences,
    "generation": _letter,
    "classification": _label,
    "question_answering": _longest_sentence,
    "reasoning": _sum,
    "code_generation": _code,
    "image_analysis": _scene,
    "audio_transcription": _speech,
}
