"""Which split a record belongs to; the same on every machine and in every session."""

from __future__ import annotations

import hashlib

from orchestai.contracts import Split


def normalized(instruction: str) -> str:
    """Return `instruction` without what does not make it another one: case and spacing."""
    return " ".join(instruction.casefold().split())


def split_by_hash(key: str) -> Split:
    """Return the split of `key`: 60 % train, 20 % validation, 20 % test."""
    place = int(hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest(), 16) % 100
    return "train" if place < 60 else "validation" if place < 80 else "test"
