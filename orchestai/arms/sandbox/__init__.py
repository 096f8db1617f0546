"""Code in confinement: no network, no files but its own, and a limit on everything it can use up."""

from __future__ import annotations

from orchestai.arms.sandbox.command import Language
from orchestai.arms.sandbox.program import Program, SandboxResult
from orchestai.arms.sandbox.sandbox import Sandbox

__all__ = ["Language", "Program", "Sandbox", "SandboxResult"]
