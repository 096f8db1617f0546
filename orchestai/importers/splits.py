"""Which split a record belongs to; the same on every machine and in every session."""

from __future__ import annotations

import hashlib

from orchestai.contracts import Split


def normalized(instruction: str) -> str:
    """Return `instruction` without what does not make it another one: case and spacing."""
    return " ".join(instruction.casefold().split())


def split_by_hash(key: str, *, train: int = 60, validation: int = 20) -> Split:
    """Return the split of `key`; the percentages that are left are test."""
    place = int(hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest(), 16) % 100
    return "train" if place < train else "validation" if place < train + validation else "test"
