"""How long clients are waited for, so that nobody holds a connection open for nothing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """What a client may take."""

    head_s: float = 10.0
    """For the head of a request, or to see that its body is not wanted. A head comes at once; over
    the worst line it takes a second."""
    body_start_s: float = 10.0
    """Before a body's first bytes."""
    body_bytes_per_s: int = 20_000
    """Slower than any line that a recording is sent over; 30 MB then take 25 minutes at most."""
    unread_s: float = 300.0
    """With what was sent to it unread; then it counts as gone. Listeners make pauses."""
