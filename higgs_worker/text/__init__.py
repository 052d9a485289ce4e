"""Text before it is spoken: markup, language, normalisation, chunks, expected duration."""
