# ruff: noqa: E501 - an expression that is broken into pieces is harder to check than a long line
"""Personal data that has a form: found by pattern, confirmed by a check."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from orchestai.config.reflex import PiiKind
from orchestai.reflex.scanner import Engine, Match, PatternScanner
from orchestai.reflex.validators import digits_of, is_card_number, is_iban, is_ip_address, is_ssn, passes_luhn

PATTERNS: dict[str, str] = {
    "EMAIL": r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9-])",
    "IBAN": r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,30}",
    "CREDIT_CARD": r"(?<![\w.,-])\d(?:[ -]?\d){11,18}(?![\w-]|[.,]\d)",
    "SSN": r"(?<![\w-])\d{3}([ -])\d{2}[ -]\d{4}(?![\w-])",
    "IP4": r"(?<![\w.-])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\w-]|\.\d)",
    "IP6": r"(?<![\w:.])[0-9a-fA-F]{0,4}:[0-9a-fA-F]{0,4}:[0-9a-fA-F:]{2,39}(?![\w:])",
    "URL": r"(?<![\w@.])(?:https?://|www\.)[^\s<>\"'()\[\]{}|]{3,2000}",
    "DRIVER_LICENSE": r"[Dd]river(?:'?s|s')?[ -][Ll]icen[cs]e(?: (?:number|no\.?|id))?(?: is|:| was|,)?(?: number)? ?(?P<value>[A-Z]{0,3}\d[A-Z0-9-]{4,19})(?![\w-])",
    "PHONE": r"(?<![\w./-])(?:\+ ?|00)?\(?\d{1,5}\)?(?:[ ./-]{0,2}\(?\d{1,5}\)?){1,7}(?: ?(?:x|ext\.?) ?\d{1,6})?(?![\w])",
}

_CALLED_PHONE = re.compile(
    r"(?:phone|call|mobile|cell|tel|fax|whats ?app|sms|text me|reach|ring|dial|contact|number|telefon|handy|rufnummer|"
    r"t[eé]l[eé]phone|m[oó]vil|registered)\W*(?:\w+\W+){0,4}$",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}(?: \d{1,2})?")
_PHONE_SHAPE = re.compile(r"\+|^00[1-9]|\)|\d[ .-]\d{2,5}[ .-]\d|^0\d{1,4}[ ./-]?\d|\d{3}-\d{4}$|x\d")


class Found(NamedTuple):
    """A piece of personal data in a text."""

    kind: PiiKind
    start: int
    end: int


class FormedPii:
    """Finds personal data by form.

    Args:
        engine: What searches.
    """

    def __init__(self, engine: Engine = "auto") -> None:
        self._scanner = PatternScanner(PATTERNS, engine=engine)

    def find(self, text: str) -> list[Found]:
        """Return what was found and confirmed; pieces may overlap."""
        found = (_CHECKS[match.name](match, text) for match in self._scanner.find(text))
        return [each for each in found if each is not None]


def _email(match: Match, _text: str) -> Found | None:
    return Found("EMAIL", match.start, match.end)


def _iban(match: Match, _text: str) -> Found | None:
    # The pattern runs on into the words that follow; the country's length says where the number ends.
    ends = [index + 1 for index, char in enumerate(match.text) if char != " "]
    for end in ends[14:]:
        if is_iban(match.text[:end]):
            following = match.text[end : end + 1]
            return Found("IBAN", match.start, match.start + end) if following in ("", " ") else None
    return None


def _card(match: Match, text: str) -> Found | None:
    # Some debit cards begin with 0; so do many other numbers, hence the word before it.
    called = match.text.startswith("0") and "card" in text[max(0, match.start - 40) : match.start].lower()
    confirmed = passes_luhn(match.text) if called else is_card_number(match.text)
    return Found("CREDIT_CARD", match.start, match.end) if confirmed else None


def _ssn(match: Match, _text: str) -> Found | None:
    return Found("SSN", match.start, match.end) if is_ssn(match.text) else None


def _ip(match: Match, _text: str) -> Found | None:
    value = match.text.rstrip(":") if match.text.endswith(":") and not match.text.endswith("::") else match.text
    hexadecimal = sum(char not in ":." for char in value)
    if hexadecimal < 2 or not is_ip_address(value):
        return None
    return Found("IP_ADDRESS", match.start, match.start + len(value))


def _license(match: Match, _text: str) -> Found | None:
    return Found("DRIVER_LICENSE", match.start, match.end)


def _url(match: Match, _text: str) -> Found | None:
    return Found("URL", match.start, match.start + len(match.text.rstrip(".,;:!?")))


def _phone(match: Match, text: str) -> Found | None:
    value = match.text.rstrip(" .-/(")
    digits = len(digits_of(value.split("x")[0].split("e")[0]))
    if not 6 <= digits <= 15 or _DATE.fullmatch(value) or is_ip_address(value):
        return None
    called = _CALLED_PHONE.search(text, max(0, match.start - 60), match.start) is not None
    shaped = digits >= 7 and _PHONE_SHAPE.search(value) is not None and not _is_amount(value)
    strong = value.startswith("+") or (shaped and digits >= 9)
    return Found("PHONE", match.start, match.start + len(value)) if strong or called else None


def _is_amount(value: str) -> bool:
    """Say whether it reads as a number in thousands, such as `12 000 000` or `1.250.000`."""
    return re.fullmatch(r"[1-9]\d{0,2}(?:[ .]\d{3})+", value) is not None


_CHECKS: dict[str, Callable[[Match, str], Found | None]] = {
    "EMAIL": _email,
    "IBAN": _iban,
    "CREDIT_CARD": _card,
    "SSN": _ssn,
    "IP4": _ip,
    "IP6": _ip,
    "URL": _url,
    "DRIVER_LICENSE": _license,
    "PHONE": _phone,
}
