"""Statistics of paired videos and of methods that were trained several times."""
