"""What a benchmark asks for: prompts or worlds, lengths and seeds."""
