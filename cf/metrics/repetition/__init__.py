"""Whether a video repeats itself or another."""
