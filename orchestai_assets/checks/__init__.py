"""One file an asset; a failed check is a refusal with its gate, what was observed and what is allowed."""
