"""When the next piece of a stream should be decoded: as late as its listener allows.

Large pieces cost less per frame. But the first sound should come early, and a listener in real
time must not run out of audio. So a live stream starts with a piece that lasts until the next one
is there, then decodes the frames it has, and its pieces grow as it gets ahead of its listener.
Between the first piece and the last, pieces have few sizes, because a GPU has calls of these
captured.
"""

import math

NOW, NEVER = -math.inf, math.inf

PIECE_FRAMES = (8, 16, 24)
"""Frames of the pieces between a stream's first and its last. The engine passes on eight at a time;
pieces of more than about a second of audio gain nothing more (docs/performance.md)."""
MAX_PIECE_FRAMES = PIECE_FRAMES[-1]
FIRST_SOUND_FRAMES = 4
"""Frames that are heard of a live stream's first piece, 0.16 s: the next eight take 33 ms alone and
some 0.1 s among others whose prompts are read (measured on an H100)."""
MARGIN_S = 0.5
"""A piece is due this long before its listener runs out: generating the frames that still lack,
decoding and delivery take time."""


class PieceSchedule:
    """How far one stream's listener is; all times are seconds of one clock."""

    def __init__(self, *, sample_rate: int, num_first_frames: int, is_live: bool) -> None:
        """Start before the first frame.

        Args:
            sample_rate: of the PCM.
            num_first_frames: of a live stream's first piece.
            is_live: whether the audio is heard while it is decoded; otherwise only its end matters.
        """
        self._sample_rate = sample_rate
        self._num_first_frames = num_first_frames
        self._is_live = is_live
        self._has_begun = False
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
        # Without a listener, decoding only more than a full piece never leaves the last piece
        # empty, and the pieces depend on the number of frames alone, not on their timing.
        if is_complete or num_pending > MAX_PIECE_FRAMES:
            return NOW
        num_needed = PIECE_FRAMES[0] if self._has_begun else self._num_first_frames
        if not self._is_live or num_pending < num_needed:
            return NEVER
        return self._runs_out_at - MARGIN_S

    def take(self, num_pending: int, is_complete: bool) -> int:
        """Begin the next piece, which is due: return how many of the pending frames it has.

        Args:
            num_pending, is_complete: see `due`.

        Raises:
            ValueError: they are too few for a piece that is neither the first nor the last.
        """
        size = min(num_pending, MAX_PIECE_FRAMES)
        if self._has_begun and not is_complete:
            size = max(each for each in PIECE_FRAMES if each <= size)
        self._has_begun = True
        return size
