"""Jobs; they select assets by key."""
