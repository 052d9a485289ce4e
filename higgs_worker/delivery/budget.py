"""How large a reply may be: what is left of it, and what is left out where it is too little.

A platform that limits the size of a reply drops one that is too large without a word, so every
output is measured before it is returned.
"""

import asyncio
import base64
import json
import math
from dataclasses import dataclass
from typing import Any

from higgs_worker.errors import ResultTooLarge

MAX_FAILURE_BYTES = 1000
"""What one failure among several outputs may take."""


@dataclass(slots=True)
class SizeBudget:
    """The bytes of one reply, of one or of several outputs."""

    limit: int
    num_taken: int = 0
    way_out: str = ""
    """Where a larger reply is possible; ends the sentence of the error."""

    @property
    def num_left(self) -> int:
        """Bytes that still fit."""
        return self.limit - self.num_taken

    def reserve_failures(self, num: int) -> None:
        """Set bytes aside for outputs that may fail, so that each failure can be told."""
        self.num_taken += MAX_FAILURE_BYTES * num

    def check(self, output: dict[str, Any]) -> None:
        """Refuse an output that is no speech and has nothing that can be left out.

        Raises:
            ResultTooLarge: it does not fit.
        """
        num_bytes = posted_bytes(output)
        if num_bytes > self.num_left:
            raise ResultTooLarge(
                f"the reply has {num_bytes / 1e6:.1f} MB and the platform takes "
                f"{self.limit / 1e6:.0f} MB for this route; ask for less at once{self.way_out}",
                details={"num_bytes": num_bytes, "max_bytes": self.limit},
            )

    def add(self, output: dict[str, Any]) -> None:
        """Count an output without audio, which loses its segments if they do not fit."""
        trim(output, self.num_left)
        self.num_taken += posted_bytes(output)

    async def add_base64(self, output: dict[str, Any], audio: bytes) -> None:
        """Count an output with its audio, then put the audio into it, written in a thread.

        Raises:
            ResultTooLarge: it does not fit; the output is as before.
        """
        output["audio"]["base64"] = ""
        # Measured before the audio is encoded: base64 has a known length and needs no escaping.
        num_bytes = posted_bytes(output) + 4 * math.ceil(len(audio) / 3)
        if num_bytes > self.num_left:
            del output["audio"]["base64"]
            others = f", {self.num_taken / 1e6:.1f} MB of which are taken" if self.num_taken else ""
            raise ResultTooLarge(
                f"the result has {num_bytes / 1e6:.1f} MB and the platform takes "
                f"{self.limit / 1e6:.0f} MB for this route{others}; ask for mp3 or opus, send a "
                "shorter text or a lower max_duration_s, give the endpoint a bucket "
                f"(HIGGS_S3_BUCKET){self.way_out}",
                details={"num_bytes": num_bytes, "max_bytes": self.limit},
            )
        self.num_taken += num_bytes
        output["audio"]["base64"] = await asyncio.to_thread(to_base64, audio)


def trim(output: dict[str, Any], max_bytes: int) -> None:
    """Leave the segments out of an output that is otherwise larger than may be posted."""
    if posted_bytes(output) > max_bytes:
        output["segments"] = []
        output["warnings"].append("the segments were left out: the result has no room for them")


def without_details(failure: dict[str, Any]) -> dict[str, Any]:
    """Return a failure that is told beside others; details that are too long are left out."""
    if posted_bytes(failure) <= MAX_FAILURE_BYTES:
        return failure
    return failure | {"details": {}}


def posted_bytes(output: dict[str, Any]) -> int:
    """Return the size of an output as RunPod's SDK posts it."""
    return len(json.dumps({"output": output}, ensure_ascii=False, allow_nan=False).encode("utf-8"))


def to_base64(audio: bytes) -> str:
    """Return bytes as JSON carries them."""
    return base64.b64encode(audio).decode("ascii")
