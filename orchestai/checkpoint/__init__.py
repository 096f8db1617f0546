"""Learned weights on disk: save, load, verify. Never pickle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestai.checkpoint.manifest import Manifest
    from orchestai.checkpoint.store import LoadedCheckpoint, load_checkpoint, save_checkpoint
    from orchestai.checkpoint.verify import read_manifest, verify_checkpoint

__all__ = ["LoadedCheckpoint", "Manifest", "load_checkpoint", "read_manifest", "save_checkpoint", "verify_checkpoint"]


def __getattr__(name: str) -> Any:
    """Load on first use, so that importing the package stays light (PEP 562)."""
    if name == "Manifest":
        from orchestai.checkpoint.manifest import Manifest

        return Manifest
    if name in ("read_manifest", "verify_checkpoint"):
        from orchestai.checkpoint import verify

        return getattr(verify, name)
    if name in __all__:
        from orchestai.checkpoint import store

        return getattr(store, name)
    raise AttributeError(f"module 'orchestai.checkpoint' has no attribute {name!r}")
