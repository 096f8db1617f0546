"""Which encoding a text file has, decided from all of its bytes, and its text as a stream of UTF-8."""

from __future__ import annotations

import codecs
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from orchestai.errors import DataError
from orchestai.validation.load.limits import MIB
from orchestai.validation.load.snapshot import PreadFile

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Bytes that no text in a one-byte encoding has: control characters, and the five that cp1252 leaves undefined.
_NOT_TEXT = bytes([*range(9), 0x0B, *range(0x0E, 0x20), 0x7F, 0x81, 0x8D, 0x8F, 0x90, 0x9D])


@dataclass(frozen=True)
class Encoding:
    """How to decode a file.

    Attributes:
        name: Python's name of the codec.
        mark: Bytes of byte order mark to skip.
        quotes: How many double quotes the text has.
    """

    name: str
    mark: int
    quotes: int


def detect_encoding(file: PreadFile, asked: str | None, notes: list[str]) -> Encoding:
    """Read the whole file once and say how it is encoded.

    Args:
        file: The file.
        asked: The encoding that the caller insists on.
        notes: Takes what was assumed.

    Raises:
        DataError: No one encoding fits all bytes, or an unknown encoding was asked for.
    """
    head = file.head(4096)
    mark, name = next(((len(mark), name) for mark, name in _MARKS if head.startswith(mark)), (0, None))
    if asked is not None:
        try:
            asked = codecs.lookup(asked).name
            if not codecs.lookup(asked)._is_text_encoding:
                raise LookupError
        except LookupError as error:
            raise DataError(f"There is no encoding {asked!r}.", remedy="Use e.g. utf-8, utf-16, cp1252.") from error
        if asked in ("utf-16", "utf-32", "utf-8-sig"):
            asked = name or {"utf-8-sig": "utf-8"}.get(asked, f"{asked}-le")
        return Encoding(asked, mark if asked == name else 0, _verify(file, asked, mark if asked == name else 0))
    if name is not None:
        notes.append(f"encoding {name}, said by its byte order mark")
        return Encoding(name, mark, _verify(file, name, mark))
    name = _unmarked_wide(head)
    if name is not None:
        notes.append(f"encoding {name} assumed: every other byte is zero")
        return Encoding(name, 0, _verify(file, name, 0))
    return _utf8_or_western(file, notes)


def _unmarked_wide(head: bytes) -> str | None:
    """Return UTF-16 and its byte order where nearly every other byte is zero, as in Western text without a mark."""
    even, odd = head[0::2], head[1::2]
    if not odd:
        return None
    if odd.count(0) > 0.7 * len(odd) and even.count(0) < 0.05 * len(even):
        return "utf-16-le"
    if even.count(0) > 0.7 * len(even) and odd.count(0) < 0.05 * len(odd):
        return "utf-16-be"
    return None


def _verify(file: PreadFile, name: str, mark: int) -> int:
    """Decode everything; return the number of double quotes."""
    decoder = codecs.getincrementaldecoder(name)()
    file.seek(mark)
    quotes = 0
    while True:
        start = file.tell()
        block = file.read(MIB)
        try:
            text = decoder.decode(block, not block)
        except UnicodeDecodeError as error:
            _refuse(file, start + error.start, name)
        if "\0" in text:
            raise DataError(
                f"The text holds zero characters, the first between bytes {start:,} and {start + len(block):,}.",
                remedy="It is not a text file, or of another encoding: say which with `encoding=`.",
            )
        quotes += text.count('"')
        if not block:
            return quotes


def _utf8_or_western(file: PreadFile, notes: list[str]) -> Encoding:
    """Tell UTF-8 from cp1252: valid multi-byte characters and invalid bytes in one file are a mixture, and refused."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.seek(0)
    quotes, wide, first_bad, clean = 0, False, None, True
    while block := file.read(MIB):
        quotes += block.count(b'"')
        if b"\0" in block:
            raise DataError(
                f"The file holds zero bytes, the first at byte {file.tell() - len(block) + block.index(0):,}.",
                remedy="It is binary or damaged; if it is text, say how it is encoded with `encoding=`.",
            )
        clean = clean and len(block.translate(None, _NOT_TEXT)) == len(block)
        pending = len(decoder.getstate()[0])
        if block.isascii() and not pending:
            continue
        if first_bad is None:
            try:
                wide = not decoder.decode(block).isascii() or wide
            except UnicodeDecodeError as error:
                first_bad = file.tell() - len(block) - pending + error.start
                # error.object is what was pending and the block: what stands before the bad byte is valid.
                wide = wide or not error.object[: error.start].isascii()
                decoder.reset()
                wide = wide or _has_wide(error.object[error.end :])
        else:
            wide = wide or _has_wide(block)
    if first_bad is None and decoder.getstate()[0]:
        first_bad = file.size - len(decoder.getstate()[0])
    if first_bad is None:
        return Encoding("utf-8", 0, quotes)
    if wide or not clean:
        _refuse(file, first_bad, "utf-8")
    notes.append(
        "encoding cp1252 (it includes Latin-1) assumed: the bytes are not UTF-8; say `encoding=` if it is another"
    )
    return Encoding("cp1252", 0, quotes)


def _has_wide(block: bytes) -> bool:
    """Say whether a block holds any valid UTF-8 character of several bytes.

    In cp1252 that would be a pair like `Ã©`: doubly encoded text, and hardly any real word. Refusing is the safe side.
    """
    valid = block.decode("utf-8", errors="ignore")
    return not valid.isascii()


def _refuse(file: PreadFile, at: int, name: str) -> NoReturn:
    file.seek(0)
    line, left = 1, at
    while left > 0 and (block := file.read(min(MIB, left))):
        line += block.count(b"\n")
        left -= len(block)
    raise DataError(
        f"Byte {at:,} (line {line:,}) is not {name}, and no single encoding fits the whole file.",
        remedy="Re-encode it as UTF-8, or say which encoding it has with `encoding=`.",
    )


class Utf8Stream(io.RawIOBase):
    """The file's text as UTF-8 without mark, ending with a line break.

    Args:
        file: The file.
        encoding: How it is encoded.
    """

    def __init__(self, file: PreadFile, encoding: Encoding) -> None:
        super().__init__()
        self._file = file
        self._decoder = None if encoding.name == "utf-8" else codecs.getincrementaldecoder(encoding.name)()
        self._ready = memoryview(b"")
        self._last = b"\n"
        self._done = False
        file.seek(encoding.mark)

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill `buffer` with the next bytes; return how many."""
        while not self._ready and not self._done:
            block = self._file.read(MIB)
            self._done = not block
            text = block if self._decoder is None else self._decoder.decode(block, self._done).encode()
            self._last = text[-1:] or self._last
            if self._done and self._last != b"\n":
                text += b"\n"
            self._ready = memoryview(text)
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._ready))
        view[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


def open_text(file: PreadFile, encoding: Encoding, newline: str = "") -> io.TextIOWrapper:
    """Return the file as text with its own line breaks kept; `newline` is what ends a line, any by default."""
    return io.TextIOWrapper(io.BufferedReader(Utf8Stream(file, encoding), MIB), encoding="utf-8", newline=newline)
