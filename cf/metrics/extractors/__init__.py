"""Feature extractors of frames and texts, chosen by name."""
