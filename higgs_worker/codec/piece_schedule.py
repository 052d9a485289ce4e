"""When the next piece of a stream should be decoded: as late as its listener allows.

Large pieces cost less per frame. But the first sound should come early, and a listener in real
time must not run out of audio. So a live stream starts with the smallest piece that gives any
sound, then decodes the frames it has, and its pieces grow as it gets ahead of its listener.
"""

import math

NOW, NEVER = -math.inf, math.inf

MAX_PIECE_FRAMES = 24
"""About a second of audio: larger pieces gain nothing more (docs/performance.md)."""
MARGIN_S = 0.5
"""A piece is due this long before its listener runs out: decoding and delivery take time."""


class PieceSchedule:
    """How far one stream's listener is; all times are seconds of one clock."""

    def __init__(self, *, sample_rate: int, num_first_frames: int, is_live: bool) -> None:
        """Start before the first frame.

        Args:
            sample_rate: of the PCM.
            num_first_frames: frames without which the stream's start gives no sound.
            is_live: whether the audio is heard while it is decoded; otherwise only its end matters.
        """
        self._sample_rate = sample_rate
        self._num_first_frames = num_first_frames
        self._is_live = is_live
        self._runs_out_at = NOW
        """When the listener will have heard all PCM so far; NOW before the first."""

    def record_delivery(self, num_samples: int, now: float) -> None:
        """Record that PCM was delivered; a listener that had run out starts again with it."""
        self._runs_out_at = max(self._runs_out_at, now) + num_samples / self._sample_rate

    def due(self, num_pending: int, is_complete: bool) -> float:
        """Return when the pending frames should be decoded, NOW and NEVER included.

        Args:
            num_pending: frames that wait.
            is_complete: whether these are the stream's last frames.
        """
        # Decoding only more than a full piece never leaves the last piece empty. And without a
        # listener the pieces then depend on the number of frames alone, not on their timing.
        if is_complete or num_pending > MAX_PIECE_FRAMES:
            return NOW
        has_started = self._runs_out_at != NOW
        if not self._is_live or num_pending < (1 if has_started else self._num_first_frames):
            return NEVER
        return self._runs_out_at - MARGIN_S
