"""What takes part in a benchmark: networks, imported videos and controls."""
