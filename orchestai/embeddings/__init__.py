"""Text encoders behind one protocol, with a cache by content hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestai.embeddings.loading import load_encoder
    from orchestai.embeddings.protocol import TextEncoder, TokenStates

__all__ = ["TextEncoder", "TokenStates", "load_encoder"]


def __getattr__(name: str) -> Any:
    """Load on first use, so that importing the package stays light (PEP 562)."""
    if name == "load_encoder":
        from orchestai.embeddings.loading import load_encoder

        return load_encoder
    if name in ("TextEncoder", "TokenStates"):
        from orchestai.embeddings import protocol

        return getattr(protocol, name)
    raise AttributeError(f"module 'orchestai.embeddings' has no attribute {name!r}")
