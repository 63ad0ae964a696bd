"""Agreement with the prompt."""
