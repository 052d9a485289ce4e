"""The figures of a worker: what happened since its start, counted once for every way in and out."""
