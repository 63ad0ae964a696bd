"""Picture quality and its change over time."""
