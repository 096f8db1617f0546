"""The command line: thin commands over `app`, with answers for people and, on `--json`, for machines."""
