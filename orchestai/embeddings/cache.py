"""Token states on disk, found again by the hash of encoder and text."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orchestai.errors import StorageError

_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00v\x00{'descr': '<f2', 'fortran_order': False, 'shape': \((\d+), (\d+)\), } *\n"
)
_HEADER_SIZE = 128
_INFINITE = 0x7C00
"""Least magnitude, as bits, of what is no finite number."""


class TokenCache:
    """One small file a text, in folders by the first two digits of its hash.

    An entry that cannot be read counts as absent: the cache never decides a result, so a torn or
    foreign file costs one encoding and nothing else.

    Args:
        directory: Where the files lie; made on the first write.
        identity: Identity of the encoder; another encoder never sees these entries.
        hidden_size: Width that an entry must have.
    """

    def __init__(self, directory: Path, identity: str, hidden_size: int) -> None:
        self._directory = directory / identity[:16]
        self._identity = identity
        self._hidden_size = hidden_size

    def path(self, text: str) -> Path:
        """Where the entry of `text` lies."""
        digest = hashlib.sha256(f"{self._identity}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
        return self._directory / digest[:2] / f"{digest}.npy"

    def get(self, text: str) -> npt.NDArray[np.float16] | None:
        """Return the states [T, H] of `text`, or None when there is no sound entry."""
        try:
            raw = np.fromfile(self.path(text), dtype=np.uint8)
        except OSError:
            return None
        # `np.load` takes longer to read the header than this does for all.
        header = _HEADER.fullmatch(raw[:_HEADER_SIZE].tobytes())
        if header is None:
            return None
        length, width = map(int, header.groups())
        bits = raw[_HEADER_SIZE:]
        if width != self._hidden_size or length == 0 or len(bits) != 2 * length * width:
            return None
        states = bits.view(np.float16).reshape(length, width)
        finite = int((bits.view(np.uint16) & 0x7FFF).max()) < _INFINITE
        return states if finite else None

    def put(self, text: str, states: npt.NDArray[np.float16]) -> None:
        """Write the entry of `text`; a reader sees all of it or nothing.

        Raises:
            StorageError: The disk is full, or the directory cannot be written.
        """
        path = self.path(text)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    np.save(file, np.ascontiguousarray(states), allow_pickle=False)
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StorageError(
                f"The embedding cache cannot be written: {error}.",
                path=str(path),
                remedy="Free some space, or point `embeddings` at a folder that can be written.",
            ) from error
