"""Runs a plan: order, parallelism, retries, deadline, budget, combined answer. It does not choose workers."""

from __future__ import annotations

from orchestai.engine.engine import Engine

__all__ = ["Engine"]
