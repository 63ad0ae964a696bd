"""Measures against the engine's own picture of a pose."""
