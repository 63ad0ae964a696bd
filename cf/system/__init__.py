"""Processes, signals and the shell."""
