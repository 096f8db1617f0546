"""Phrases for synthetic instructions: one YAML file a language, checked when it is read.

A file holds literal blocks, one phrase a line. In `asks`, each kind of need has phrases of up to three forms:

- `do`: an imperative without capital or full stop ("sum up {x}"); `frames.do` make it polite or blunt,
- `thing`: a noun phrase ("a summary of {x}"); `frames.thing` ask for it,
- `say`: whole sentences, as they stand.

`{slot}` draws a line of `slots`, `{n:3-9}` a number. `{x}` is what a need is about (a line of `sources` or of
`results`), `{refs}` the results that a piece of writing is made from. In `frames`, `_` at either end of a line
is a space. No phrase may come from the starter corpus: what is measured there must not be memorised here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from orchestai.contracts.base import Record
from orchestai.errors import DataError

Form = Literal["do", "thing", "say"]
Kind = Literal["text", "image", "audio"]

SLOT = re.compile(r"\{(\w+)(?::(\d+)-(\d+))?\}")
_GIVEN = frozenset({"x", "refs", "n"})
_FRAMES: dict[str, frozenset[str]] = {
    "do": frozenset({"do"}),
    "thing": frozenset({"thing"}),
    "before": frozenset({"first", "second"}),
}


def _lines(value: Any) -> Any:
    return tuple(line for line in value.splitlines() if line) if isinstance(value, str) else value


Lines = Annotated[tuple[str, ...], BeforeValidator(_lines), Field(min_length=1)]


class PhraseBook(Record):
    """The phrases of one language.

    Attributes:
        language: Two-letter code.
        sources: How material is named, by its kind.
        tags: What introduces the needs that concern one of several materials.
        results: How the result of a sub-task is named, by task type.
        slots: Lines that `{slot}` draws from.
        negations: Sentences that say what is *not* wanted, by task type; `any` fits every plan.
        frames: How needs are asked for and joined.
        asks: Phrases by kind of need and form.
    """

    language: str = Field(pattern="^[a-z]{2}$")
    sources: dict[Kind, Lines]
    tags: dict[Kind, Lines]
    results: dict[str, Lines]
    slots: dict[str, Lines]
    negations: dict[str, Lines]
    frames: dict[str, Lines]
    asks: dict[str, dict[Form, Lines]]

    @model_validator(mode="after")
    def _check_slots(self) -> Self:
        problems = []
        for place, phrase in self.phrases():
            allowed = _GIVEN | self.slots.keys() | _FRAMES.get(place.removeprefix("frames."), frozenset())
            for name, *_ in SLOT.findall(phrase):
                if name not in allowed:
                    problems.append(f"{place}: {phrase!r} names the unknown slot {name!r}")
            if phrase.count("{") != len(SLOT.findall(phrase)):
                problems.append(f"{place}: {phrase!r} has a brace that opens no slot")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def fold(self, number: int, folds: int) -> PhraseBook:
        """Return the book with every `folds`-th phrase of `asks`, from `number` on; short lists stay whole."""
        asks = {
            need: {form: lines[number::folds] if len(lines) >= folds else lines for form, lines in forms.items()}
            for need, forms in self.asks.items()
        }
        return self.model_copy(update={"asks": asks})

    def phrases(self) -> Iterator[tuple[str, str]]:
        """Yield every phrase with the place where it stands."""
        for section in ("sources", "tags", "results", "slots", "negations", "frames"):
            for name, lines in getattr(self, section).items():
                for line in lines:
                    yield f"{section}.{name}", line
        for need, forms in self.asks.items():
            for form, lines in forms.items():
                for line in lines:
                    yield f"asks.{need}.{form}", line


def load_books() -> tuple[PhraseBook, ...]:
    """Read the packaged phrases, in order of language.

    Raises:
        DataError: A file is not a phrase book; all its problems are named.
    """
    import yaml

    books = []
    for file in sorted(resources.files(__package__).iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".yml"):
            continue
        try:
            books.append(PhraseBook.model_validate(yaml.safe_load(file.read_text(encoding="utf-8"))))
        except (yaml.YAMLError, ValidationError) as error:
            raise DataError(f"The phrases in {file.name} cannot be used: {error}") from error
    return tuple(books)
