"""Text to PCM: chunks, prompts, attempts, quality."""
