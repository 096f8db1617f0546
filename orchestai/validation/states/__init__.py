"""Partial states: made of one chunk, merged in any order, finished once."""
