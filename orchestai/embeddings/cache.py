"""Token states on disk, found again by the hash of encoder and text."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orchestai.errors import StorageError


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
            states = np.load(self.path(text), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        sound = (
            isinstance(states, np.ndarray)
            and states.dtype == np.float16
            and states.ndim == 2
            and states.shape[1] == self._hidden_size
            and len(states) > 0
            and bool(np.isfinite(states).all())
        )
        return states if sound else None

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
                    np.save(file, states, allow_pickle=False)
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
