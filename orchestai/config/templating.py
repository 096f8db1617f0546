"""Jinja as this project allows it: sandboxed, and an unknown name is an error."""

from __future__ import annotations

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment


def sandboxed_environment() -> ImmutableSandboxedEnvironment:
    """Return an environment in which templates cannot reach Python's internals."""
    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,  # prompts and configuration are plain text, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
    )
