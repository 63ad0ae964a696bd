"""Whether what was seen before comes back as it was."""
