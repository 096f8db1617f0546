"""Words for a scenario: the same needs as sentences, as a list, in one breath or in note style."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from orchestai.training.phrases import SLOT, Form, Kind, PhraseBook
from orchestai.training.scenarios import Need, Scenario

_SUFFIXES = ("too", "too_both")
_LISTS: tuple[tuple[str, str], ...] = (
    ("{n}) ", "\n"),
    ("{n}. ", "\n"),
    ("- ", "\n"),
    ("* ", "\n"),
    ("({a}) ", " "),
    ("{n}) ", " "),
    ("{n} ", " "),
)


class Wording:
    """Puts scenarios into words of one language.

    Args:
        book: Its phrases.
        rng: Decides between them.
    """

    def __init__(self, book: PhraseBook, rng: random.Random) -> None:
        self._book = book
        self._rng = rng

    def speaks(self, scenario: Scenario) -> bool:
        """Tell whether the language has phrases for every need."""
        return all(need.phrases in self._book.asks for block in scenario.blocks for need in block)

    def instruction(self, scenario: Scenario) -> tuple[str, tuple[Kind, ...]]:
        """Return the instruction and the kinds of input that are attached to it.

        A text may stand in the instruction itself; it is not attached then.
        """
        chance = self._rng.random()
        needs = sum(len(block) for block in scenario.blocks)
        if needs > 1 and chance < 0.22:
            text = self._as_list(scenario)
        elif needs > 1 and chance < 0.38:
            text = self._as_things(scenario)
        else:
            text = self._as_sentences(scenario)
        text = self._around(text, scenario)
        if self._rng.random() < 0.13:
            text = _casual(text)
        media = scenario.media
        if "text" in media and self._rng.random() < 0.25:
            text = f"{text}\n\n{self._material()}"
            media = tuple(kind for kind in media if kind != "text")
        return text, media

    def phrase(self, scenario: Scenario, need: Need, form: Form) -> str | None:
        """Return a phrase for a need, with its slots filled; None if the language has none of this form."""
        lines = self._book.asks[need.phrases].get(form)
        if lines is None:
            return None
        return self.fill(self._rng.choice(lines), x=self._object(scenario, need), refs=self._refs(scenario, need))

    def fill(self, phrase: str, **given: str) -> str:
        """Fill the slots of a phrase; slots may hold slots."""

        def value(match: re.Match[str]) -> str:
            name, low, high = match.groups()
            if low is not None:
                return str(self._rng.randint(int(low), int(high)))
            if name in given:
                return given[name]
            return self.fill(self._rng.choice(self._book.slots[name]), **given)

        return SLOT.sub(value, phrase)

    def _as_sentences(self, scenario: Scenario) -> str:
        parts: list[str] = []
        for number, block in enumerate(scenario.blocks):
            start = len(parts)
            index = 0
            while index < len(block):
                taken, text = self._sentence(scenario, block, index)
                parts.append(text)
                index += taken
            parts[start] = self._lead(scenario, block, parts[start], number)
        return " ".join(parts)

    def _sentence(self, scenario: Scenario, block: Sequence[Need], index: int) -> tuple[int, str]:
        """Word one need, or two in one breath; return how many needs are said, and the sentence."""
        need = block[index]
        if need.phrases in _SUFFIXES:
            return 1, _sentence(self.phrase(scenario, need, "say") or "")
        taken = 1 + self._suffixes(block, index)
        following = block[index + taken] if index + taken < len(block) else None
        if following is not None and following.phrases not in _SUFFIXES and self._rng.random() < 0.3:
            pair = self._pair(scenario, need, following, block[index + 1 : index + taken])
            if pair:
                return taken + 1, pair
        first_do = self.phrase(scenario, need, "do")
        if index and first_do and self._rng.random() < 0.25:
            text = self._joint("thens") + first_do + "."
        elif index == 0 and len(block) > 1 and first_do and self._rng.random() < 0.1:
            text = self._joint("first") + first_do + "."
        else:
            text = self._framed(scenario, need)
        suffix = block[index + 1 : index + taken]
        if suffix and text.endswith(".") and self._rng.random() < 0.7:
            text = text[:-1] + self._suffix(scenario, suffix[0]) + "."
            return 2, _sentence(text)
        return 1, _sentence(text)

    def _pair(self, scenario: Scenario, need: Need, following: Need, between: Sequence[Need]) -> str | None:
        first, second = self.phrase(scenario, need, "do"), self.phrase(scenario, following, "do")
        if first is None or second is None:
            return None
        first += "".join(self._suffix(scenario, suffix) for suffix in between)
        if following.follows and not between and self._rng.random() < 0.15:
            return _sentence(self._rng.choice(self._book.frames["before"]).format(first=first, second=second))
        joint = self._joint("then" if following.follows or self._rng.random() < 0.4 else "and")
        return _sentence(self._frame("do", first + joint + second))

    def _as_list(self, scenario: Scenario) -> str:
        mark, end = self._rng.choice(_LISTS)
        items: list[str] = []
        for number, block in enumerate(scenario.blocks):
            index = 0
            while index < len(block):
                need = block[index]
                suffixes = block[index + 1 : index + 1 + self._suffixes(block, index)]
                text = self._bare(scenario, need)
                if index == 0 and number and not text.endswith("?") and len(scenario.media) > 1:
                    text = self._tagged(block, text)
                text = text.rstrip(".") if suffixes else text
                items.append(text + "".join(self._suffix(scenario, suffix) for suffix in suffixes))
                index += 1 + len(suffixes)
        lines = [mark.format(n=n + 1, a="abcdefghij"[min(n, 9)]) + item for n, item in enumerate(items)]
        head = self._joint("list_head") + ("\n" if end == "\n" else " ") if self._rng.random() < 0.5 else ""
        return head + end.join(lines)

    def _as_things(self, scenario: Scenario) -> str:
        """One sentence that lists what is wanted, where every need has a noun phrase."""
        blocks: list[str] = []
        for block in scenario.blocks:
            things: list[str] = []
            for need in block:
                if need.phrases in _SUFFIXES and things:
                    things[-1] += self._suffix(scenario, need)
                    continue
                thing = self.phrase(scenario, need, "thing")
                if thing is None:
                    return self._as_sentences(scenario)
                things.append(thing)
            listed = self._enumeration(things)
            text = _sentence(self._frame("thing", listed))
            blocks.append(self._tagged(block, text) if len(scenario.media) > 1 else text)
        return " ".join(blocks)

    def _enumeration(self, things: Sequence[str]) -> str:
        if len(things) == 1:
            return things[0]
        chance = self._rng.random()
        if chance < 0.2:
            return " + ".join(things)
        if chance < 0.35:
            return "; ".join(things)
        return ", ".join(things[:-1]) + self._joint("and") + things[-1]

    def _lead(self, scenario: Scenario, block: Sequence[Need], text: str, number: int) -> str:
        """Say which material a block is about, or that it has nothing to do with the one before."""
        if len(scenario.media) > 1 and isinstance(block[0].about, str):
            return self._tagged(block, text)
        if number and self._rng.random() < 0.5:
            return f"{self._joint('unrelated', self._book.slots)} {text}"
        return text

    def _tagged(self, block: Sequence[Need], text: str) -> str:
        about = block[0].about
        if not isinstance(about, str):
            return text
        return f"{self._rng.choice(self._book.tags[about])} {text}"

    def _framed(self, scenario: Scenario, need: Need) -> str:
        form, text = self._any_form(scenario, need)
        return text if form == "say" else self._frame(form, text)

    def _bare(self, scenario: Scenario, need: Need) -> str:
        return self._any_form(scenario, need)[1]

    def _any_form(self, scenario: Scenario, need: Need) -> tuple[Form, str]:
        forms = self._book.asks[need.phrases]
        form = self._rng.choices(list(forms), weights=[len(lines) ** 0.7 for lines in forms.values()])[0]
        return form, self.phrase(scenario, need, form) or ""

    def _frame(self, form: Form, text: str) -> str:
        frame = self._rng.choice(self._book.frames[form])
        if text[-1] in '.!?"”»“`;' and self._rng.random() < 0.9:
            frame = self._book.frames[form][0]
        return frame.replace("{" + form + "}", text)

    def _suffix(self, scenario: Scenario, need: Need) -> str:
        text = self.phrase(scenario, need, "thing") or ""
        return (" " if text.startswith(("in ", "auf ", "en ", "(")) and self._rng.random() < 0.6 else ", ") + text

    def _suffixes(self, block: Sequence[Need], index: int) -> int:
        following = block[index + 1 :]
        count = 0
        while count < len(following) and following[count].phrases in _SUFFIXES:
            count += 1
        return count

    def _joint(self, name: str, lines: dict[str, tuple[str, ...]] | None = None) -> str:
        return self._rng.choice((lines or self._book.frames)[name]).replace("_", " ")

    def _object(self, scenario: Scenario, need: Need) -> str:
        if need.about is None:
            return ""
        if isinstance(need.about, int):
            return self._result(scenario, need.about)
        return self._rng.choice(self._book.sources[need.about])

    def _result(self, scenario: Scenario, node: int) -> str:
        return self.fill(self._rng.choice(self._book.results[scenario.task_types[node]]))

    def _refs(self, scenario: Scenario, need: Need) -> str:
        names = [self._result(scenario, node) for node in need.refs]
        if len(names) < 2:
            return "".join(names)
        return ", ".join(names[:-1]) + self._book.frames["and"][0].replace("_", " ") + names[-1]

    def _around(self, text: str, scenario: Scenario) -> str:
        slots = self._book.slots
        if scenario.media and self._rng.random() < 0.12:
            text = f"{text}{self._space(text)}{self._rng.choice(slots['attached'])}"
        if self._rng.random() < 0.12:
            unwanted = [
                line
                for kind, lines in self._book.negations.items()
                if kind not in scenario.task_types
                for line in lines
            ]
            text = f"{text}{self._space(text)}{self._rng.choice(unwanted)}"
        if self._rng.random() < 0.22:
            text = f"{self._rng.choice(slots['fluff'])} {text}"
        return text

    def _space(self, text: str) -> str:
        return "\n" if "\n" in text else " "

    def _material(self) -> str:
        names = self._rng.sample(["quote", "factquote", "longquote"], self._rng.choice((1, 1, 2)))
        inner = " ".join(self._rng.choice(self._book.slots[name]).strip('"„“«» ') for name in names)
        return f'"{inner}"'


def _sentence(text: str) -> str:
    """Capital first, full stop last."""
    text = text.strip()
    if not text:
        return text
    start = text[0].upper() + text[1:]
    return start if start[-1] in '.!?…:"”»“`' else f"{start}."


def _casual(text: str) -> str:
    """As typed on a phone."""
    return text.lower().replace("please", "pls").rstrip(".")
