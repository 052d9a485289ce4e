"""Checks of what a worker needs: at start, and on demand."""
