"""Turning logged executions into a better planner: preparation, supervised training, reinforcement learning."""
