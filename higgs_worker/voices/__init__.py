"""Named voices and reference recordings, and their codes."""
