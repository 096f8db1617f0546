"""Versioned prompt templates: what a worker or the LLM planner is told."""

from __future__ import annotations

from orchestai.prompts.library import PromptLibrary, RenderedPrompt

__all__ = ["PromptLibrary", "RenderedPrompt"]
