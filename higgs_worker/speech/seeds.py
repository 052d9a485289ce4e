"""The seeds of one chunk's attempts, all drawn from the seed of its request."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChunkSeeds:
    """Gives every attempt at one chunk a seed of its own."""

    request_seed: int
    chunk_index: int
    """From 0, in the order of the text."""

    def of_attempt(self, number: int) -> int:
        """Return the seed of an attempt, counted from 0.

        The first attempt at the first chunk uses the request's own seed, so that a short text is
        generated with the seed that the caller sees.
        """
        if not self.chunk_index and not number:
            return self.request_seed
        name = f"{self.request_seed}/{self.chunk_index}/{number}".encode()
        return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1
