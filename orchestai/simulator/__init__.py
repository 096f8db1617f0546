"""Plays workers whose quality, price, latency and faults are declared: in this process, or as a server.

Every answer says that it is simulated. The server's parts load aiohttp, so they load on first use (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestai.simulator.model import Fault, SimulatedCall, SimulatedModel, SimulatedReply
from orchestai.simulator.references import ReferenceBook, reference_answer
from orchestai.simulator.worker import SimulatedWorker

if TYPE_CHECKING:
    from orchestai.simulator.server import create_app
    from orchestai.simulator.serving import RunningSimulator, serve

__all__ = [
    "Fault",
    "ReferenceBook",
    "RunningSimulator",
    "SimulatedCall",
    "SimulatedModel",
    "SimulatedReply",
    "SimulatedWorker",
    "create_app",
    "reference_answer",
    "serve",
]


def __getattr__(name: str) -> Any:
    """Load the server on first use."""
    if name == "create_app":
        from orchestai.simulator.server import create_app

        return create_app
    if name in ("serve", "RunningSimulator"):
        from orchestai.simulator import serving

        return getattr(serving, name)
    raise AttributeError(f"module 'orchestai.simulator' has no attribute {name!r}")
