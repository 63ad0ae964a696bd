"""Finished runs and benchmarks side by side."""
