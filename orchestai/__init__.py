"""One instruction becomes a graph of sub-tasks, each done by the cheapest model that does it well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestai.app.facade import OrchestAI

__all__ = ["OrchestAI"]


def __getattr__(name: str) -> Any:
    """Load the public class on first use, so that `import orchestai` stays light (PEP 562)."""
    if name == "OrchestAI":
        from orchestai.app.facade import OrchestAI

        return OrchestAI
    raise AttributeError(f"module 'orchestai' has no attribute {name!r}")
