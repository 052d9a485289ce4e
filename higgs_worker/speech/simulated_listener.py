"""A listener who plays live audio as it comes, to know whether it would have run dry."""

MIN_DRY_S = 0.1
"""A shorter wait is not heard: players keep about as much in store."""


class SimulatedListener:
    """Starts with the first PCM, and goes on whenever there is some. Times are of one clock."""

    def __init__(self, sample_rate: float) -> None:
        """
        Args:
            sample_rate: samples that are heard in a second.
        """
        self.sample_rate = sample_rate
        self._ends_at: float | None = None
        """When the listener has heard all that it was given, or could have been; None: nothing."""

    @property
    def has_begun(self) -> bool:
        """Whether the listener was given anything."""
        return self._ends_at is not None

    def give(self, num_samples: int, now: float) -> float:
        """Give PCM; return for how many seconds the listener had none, 0 if that was not heard."""
        ends_at = now if self._ends_at is None else self._ends_at
        dry_s = now - ends_at
        self._ends_at = max(ends_at, now) + num_samples / self.sample_rate
        return dry_s if dry_s > MIN_DRY_S else 0.0

    def ask(self, now: float) -> None:
        """Let the listener ask for more; what it missed by asking late is its own doing."""
        if self._ends_at is not None:
            self._ends_at = max(self._ends_at, now)
