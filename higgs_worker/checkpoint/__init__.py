"""Checkpoint directories as transformers writes them."""
