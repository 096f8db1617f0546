"""Versions of the learned parts: kept, judged, released step by step, taken back.

MLflow holds the truth (versions, aliases, releases); the pointer file is a copy for those who serve.
"""

from __future__ import annotations

from orchestai.registry.pointer import ServingPointer, read_pointer
from orchestai.registry.records import Aliases, ModelVersion, RegistryState, Release
from orchestai.registry.store import ModelRegistry, open_registry

__all__ = [
    "Aliases",
    "ModelRegistry",
    "ModelVersion",
    "RegistryState",
    "Release",
    "ServingPointer",
    "open_registry",
    "read_pointer",
]
