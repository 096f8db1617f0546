"""Forms of a text: the one that keys the cache, and the one in which disguised attacks are looked for."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata

_INVISIBLE = dict.fromkeys(
    [0x00AD, 0x034F, 0x061C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF]
)
_TAGS = dict.fromkeys(range(0xE0000, 0xE0080))

# Letters of other scripts that look like Latin ones; applied to words that mix scripts only.
_LOOKALIKES = str.maketrans("аеорсухіјѕԁոһкмтвнαορνιкτ", "aeopcyxijsdnhkmtbhaopvikt")
_MIXED = re.compile(r"(?<!\S)(?=\S*[a-z])(?=\S*[Ͱ-ӿ԰-֏])\S+")

_LEET = str.maketrans("013457@$!", "oieastasi")
_LEET_WORD = re.compile(r"(?<!\S)(?=\S*[a-z])(?=\S*[0-9@$!])[a-z0-9@$!]{3,}(?!\S)")
_SPELLED = re.compile(r"(?<!\S)(?:\w[ .\-_]){3,}\w(?!\w)")
_SPELLED_WHOLE = re.compile(r"\w(?:[ .\-_]\w)*")
_BETWEEN = re.compile(r"[ .\-_]")
_WIDE_GAP = re.compile(r"\s{2,}|\n")
_BASE64 = re.compile(r"(?<![\w+/=])[A-Za-z0-9+/]{24,4096}={0,2}(?![\w+/=])")
_ESCAPED_SPACE = re.compile(r"\\+ ?[nrt]")


def cache_text(text: str) -> str:
    """Return the form of which equal texts are the same instruction.

    Case, indentation and inner spaces stay: they carry meaning in code and names. So does every character that
    NFKC would fold ("10²" is not "102").
    """
    unified = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(line.rstrip() for line in unified.strip().split("\n"))


def plain_lower(text: str) -> str:
    """Return `text` in lower case on one line, without invisible characters and styled letters."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_INVISIBLE).translate(_TAGS)
    lowered = text.lower()
    if "\\" in lowered:
        lowered = _ESCAPED_SPACE.sub(" ", lowered)
    return " ".join(lowered.split())


def disguises(text: str, lowered: str) -> list[str]:
    """Return further readings of `text`: look-alike letters, digits for letters, spelled out, base64.

    Args:
        text: As it came.
        lowered: Its `plain_lower` form.
    """
    readings = []
    if not lowered.isascii():
        mended = _MIXED.sub(lambda match: match.group().translate(_LOOKALIKES), lowered)
        if mended != lowered:
            readings.append(mended)
    leet = _LEET_WORD.sub(lambda match: match.group().translate(_LEET), lowered)
    if leet != lowered:
        readings.append(leet)
    joined = _join_spelled(text)
    if joined is not None:
        readings.append(joined)
    readings.extend(_decoded(text))
    return readings


def _join_spelled(text: str) -> str | None:
    if _SPELLED.search(text) is None:
        return None
    # "i g n o r e   a l l": wider gaps part the words; without them, the letters are one run.
    parts = [part.strip() for part in _WIDE_GAP.split(text.lower())]
    joined = [
        _BETWEEN.sub("", part)
        if _SPELLED_WHOLE.fullmatch(part)
        else _SPELLED.sub(lambda match: _BETWEEN.sub("", match.group()), part)
        for part in parts
    ]
    return " ".join(" ".join(joined).split())


def _decoded(text: str) -> list[str]:
    found = []
    for match in _BASE64.finditer(text):
        body = match.group().rstrip("=")
        try:
            decoded = base64.b64decode(body + "=" * (-len(body) % 4), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            continue
        if decoded.isprintable():
            found.append(plain_lower(decoded))
    return found
