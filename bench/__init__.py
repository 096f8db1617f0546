"""One script a claim; each writes a report that says on which data and machine it was measured."""
