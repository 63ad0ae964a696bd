"""How much moves, and how smoothly."""
