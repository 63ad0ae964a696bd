"""From videos and prompts to shards of latents and text states."""
