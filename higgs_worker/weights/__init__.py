"""Checkpoints: found on the volume, or pulled from the hub."""
