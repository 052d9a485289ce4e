"""How much RunPod takes of a job's result; it drops what is larger and shows the job as COMPLETED.

Measured against the platform: docs/delivery.md.
"""

from higgs_worker.delivery.budget import SizeBudget

_SYNC_PREFIX = "sync-"
"""How the ids of jobs begin that were sent to /runsync."""
_MAX_SYNC_BYTES = 20_000_000
_MAX_RUN_BYTES = 10_000_000
MAX_STREAMED_BYTES = 1_000_000
"""What one streamed piece may take."""
ENVELOPE_BYTES = 1000
"""What stands around the audio of a streamed piece, at most."""

MAX_PIECE_BYTES = MAX_STREAMED_BYTES - ENVELOPE_BYTES
"""What an output may take that is posted as a streamed piece."""
MAX_PIECE_AUDIO_BYTES = MAX_PIECE_BYTES // 4 * 3
"""Audio that fits into a streamed piece, before it is written as base64."""


def max_result_bytes(job_id: str) -> int:
    """Return how large the result of a job may be; its id tells by which route it came."""
    return _MAX_SYNC_BYTES if job_id.startswith(_SYNC_PREFIX) else _MAX_RUN_BYTES


def result_budget(job_id: str) -> SizeBudget:
    """Return the budget of a job's result."""
    limit = max_result_bytes(job_id)
    is_sync = limit == _MAX_SYNC_BYTES
    return SizeBudget(limit, way_out="" if is_sync else ", or use /runsync, which takes 20 MB")
