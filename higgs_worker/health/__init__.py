"""Whether this worker can work: checks at start, and on demand."""
