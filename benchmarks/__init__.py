"""Measurements of our engine against the reference implementation; see docs/performance.md."""
