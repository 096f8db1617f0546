"""Planners: learned, LLM, rules, and their composition. Import the submodules: some load torch."""
