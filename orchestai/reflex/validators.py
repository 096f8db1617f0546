"""Checks that a number is what its shape says."""

from __future__ import annotations

import ipaddress
import math
from collections import Counter

_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15,
    "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24, "SI": 19,
    "SK": 24, "SM": 27, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip


def digits_of(text: str) -> str:
    """Return the digits of `text`."""
    return "".join(char for char in text if "0" <= char <= "9")


def is_card_number(text: str) -> bool:
    """Say whether the digits pass Luhn's check, have a card's length and a known first digit."""
    digits = digits_of(text)
    return 12 <= len(digits) <= 19 and digits[0] in "123456" and len(set(digits)) >= 2 and passes_luhn(digits)


def passes_luhn(text: str) -> bool:
    """Say whether the digits of `text` end in their check digit (ISO/IEC 7812)."""
    total = 0
    for position, char in enumerate(reversed(digits_of(text))):
        value = int(char) * (2 if position % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_iban(text: str) -> bool:
    """Say whether the country's length and the check number (ISO 7064, mod 97) are right."""
    compact = "".join(text.split()).upper()
    if _IBAN_LENGTHS.get(compact[:2]) != len(compact) or not compact.isalnum() or not compact.isascii():
        return False
    number = "".join(str(int(char, 36)) for char in compact[4:] + compact[:4])
    return int(number) % 97 == 1


def is_ssn(text: str) -> bool:
    """Say whether the three parts are ones that the United States may issue."""
    area, group, serial = digits_of(text)[:3], digits_of(text)[3:5], digits_of(text)[5:]
    return area not in ("000", "666") and group != "00" and serial != "0000"


def is_ip_address(text: str) -> bool:
    """Say whether `text` is an address of IPv4 or IPv6."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def entropy_bits(text: str) -> float:
    """Return the bits a character of the text's own distribution of characters."""
    if not text:
        return 0.0
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())
