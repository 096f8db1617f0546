"""Workers that behave unlike themselves: what is looked at, the learned score of it, and what happens then."""
