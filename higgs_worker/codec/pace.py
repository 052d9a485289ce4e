"""When the next piece of a stream is to be decoded: as late as its listener allows.

Large pieces cost less per frame. But the first sound should be early, and who listens in real time
must not run dry; so a live stream begins with the least that can be heard, goes on with what there
is, and grows its pieces as it gets ahead of its listener. Knows neither clock nor thread.
"""

import math

NOW, NEVER = -math.inf, math.inf

MAX_PIECE_FRAMES = 24
"""About a second of audio: what a call costs beside its arithmetic is small by then."""
MARGIN_S = 0.5
"""How long before a listener runs dry the next piece is begun: decoding and delivery take time."""


class PieceSchedule:
    """The listener's side of one stream; all times are seconds of one clock."""

    def __init__(self, *, sample_rate: int, num_first_frames: int, is_live: bool) -> None:
        """Begin a stream.

        Args:
            sample_rate: of the PCM.
            num_first_frames: fewer than these give no sound at first.
            is_live: somebody hears it while it comes; otherwise only the end matters.
        """
        self._sample_rate = sample_rate
        self._num_first_frames = num_first_frames
        self._is_live = is_live
        self._dry_at = NOW
        """When a listener has heard all that was passed on; NOW before the first."""

    def passed_on(self, num_samples: int, now: float) -> None:
        """Note that the listener was given PCM; one that ran dry has waited for it."""
        self._dry_at = max(self._dry_at, now) + num_samples / self._sample_rate

    def due(self, num_pending: int, is_complete: bool) -> float:
        """Say when the frames that are pending are to be decoded, NOW and NEVER included.

        Args:
            num_pending: frames that wait.
            is_complete: no more will come.
        """
        # More than a piece holds: without a listener the last piece is then never empty, and the
        # pieces depend on the number of frames alone, not on when they came.
        if is_complete or num_pending > MAX_PIECE_FRAMES:
            return NOW
        has_begun = self._dry_at != NOW
        if not self._is_live or num_pending < (1 if has_begun else self._num_first_frames):
            return NEVER
        return self._dry_at - MARGIN_S
