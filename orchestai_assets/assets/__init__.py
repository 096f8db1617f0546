"""One file an asset; each loads, calls the library once and says what came of it."""
