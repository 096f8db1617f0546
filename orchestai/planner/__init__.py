"""Planners: learned, LLM and rules, and their composition. Submodules are imported where used: some load torch."""
