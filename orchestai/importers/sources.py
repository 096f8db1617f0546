"""Reading the files of a data set: plain or zstd, record by record."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from orchestai.errors import DataError

_CHUNK = 1 << 20
_SPACE = " \t\r\n"


class RawLine(NamedTuple):
    """One line of a file, not yet parsed."""

    number: int
    body: bytes


def locate(folder: Path, name: str, *, holds: str) -> Path:
    """Find `name` or its compressed twin `name.zst` in `folder`.

    Args:
        folder: Where to look.
        name: Name of the plain file.
        holds: What such a folder should hold, for the error's remedy.

    Raises:
        DataError: There is neither, or `folder` is no folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder.", remedy=f"Give a folder with {holds}.")
    for candidate in (folder / name, folder / f"{name}.zst"):
        if candidate.is_file():
            return candidate
    raise DataError(f"{folder} has neither {name} nor {name}.zst.", remedy=f"The folder should hold {holds}.")


@contextmanager
def open_bytes(path: Path) -> Iterator[io.BufferedReader]:
    """Open `path` for reading; a name that ends in `.zst` is decompressed on the way.

    Raises:
        DataError: The file cannot be read, or what it holds is not zstd; also while it is being read.
    """
    try:
        if path.suffix == ".zst":
            with pa.OSFile(str(path)) as raw, pa.CompressedInputStream(raw, "zstd") as stream:
                yield io.BufferedReader(stream, _CHUNK)
        else:
            with path.open("rb") as file:
                yield file
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error}.", remedy="Fetch the file again.") from error


def iter_lines(path: Path) -> Iterator[RawLine]:
    r"""Yield the lines that hold something, split at `\n` only.

    `str.splitlines` would also split at U+2028, which JSON allows inside a string.

    Raises:
        DataError: The file cannot be read.
    """
    with open_bytes(path) as stream:
        for number, body in enumerate(stream, 1):
            if body.strip():
                yield RawLine(number, body)


def read_json(path: Path) -> Any:
    """Read a whole JSON file.

    Raises:
        DataError: It cannot be read or is not JSON.
    """
    with open_bytes(path) as stream:
        body = stream.read()
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}.") from error


def iter_json_array(path: Path) -> Iterator[Any]:
    """Yield the elements of a JSON array one by one, without holding the file in memory.

    Raises:
        DataError: The file cannot be read or is not a JSON array.
    """
    decoder = json.JSONDecoder()
    with open_bytes(path) as stream:
        source = _Window(stream, path)
        source.skip_space()
        if source.take() != "[":
            raise DataError(f"{path} must hold a JSON array.")
        source.skip_space()
        if source.peek() == "]":
            return
        while True:
            yield source.decode(decoder)
            source.skip_space()
            mark = source.take()
            if mark == "]":
                return
            if mark != ",":
                raise DataError(f"{path} is not a JSON array: expected ',' or ']', got {mark!r}.")
            source.skip_space()


class _Window:
    """The part of a text file that is being looked at."""

    def __init__(self, stream: io.BufferedReader, path: Path) -> None:
        self._stream = stream
        self._path = path
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0

    def _more(self) -> bool:
        # The window doubles, so that a large element is parsed a logarithmic number of times only.
        chunk = self._stream.read(max(_CHUNK, len(self._text) - self._at))
        try:
            self._text = self._text[self._at :] + self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise DataError(f"{self._path} is not UTF-8 text: {error.reason}.") from error
        self._at = 0
        return bool(chunk)

    def peek(self) -> str:
        while self._at >= len(self._text):
            if not self._more():
                return ""
        return self._text[self._at]

    def take(self) -> str:
        char = self.peek()
        self._at += len(char)
        return char

    def skip_space(self) -> None:
        while (char := self.peek()) and char in _SPACE:
            self._at += 1

    def decode(self, decoder: json.JSONDecoder) -> Any:
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if self._more():
                    continue
                raise DataError(f"{self._path} is not JSON: {error}.") from error
            # A number may go on in the next chunk: of '-0.' the decoder takes '-0' and is content.
            open_ended = isinstance(value, int | float) and not self._text[end:].strip("0123456789.eE+-")
            if open_ended and self._more():
                continue
            self._at = end
            return value
