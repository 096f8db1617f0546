"""Who does a sub-task: the workers that may, and the rule that always works."""
