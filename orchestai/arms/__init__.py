"""Workers with a role: planner, retriever, coder, executor, judge; how they are chosen, joined and connected."""
