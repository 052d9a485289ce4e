"""The embedded demo model: two checkpoints in the formats of the real ones."""
