"""The engine: prompts in, frames of codes out. It knows no product, no network and no settings.

Dimension letters, used in shapes throughout the package:
B slots, K codebooks, T positions, F frames, S samples, V ids per codebook, D width, H heads,
L layers, N rows of a packed batch.
"""
