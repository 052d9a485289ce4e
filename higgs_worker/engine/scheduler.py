"""Who runs next: a queue, slots in order of arrival, prompts read in rationed pieces.

Decides and keeps count; never touches a device, a thread or a clock. The policy:

- Sequences enter slots in the order in which they came; the lowest free slot is used first, because
  a step serves all rows up to the highest one.
- A slot that stays free, with nobody waiting for it, is closed up: the running sequence in the
  highest slot moves there. A sequence that ends causes one move at most, and that costs less than a
  step.
- Prompts are read in that order too. While others speak, at most `max_prefill` positions are read
  between two polls; so a round of steps waits for that much reading at most, however many prompts
  arrive and however long they are. While nobody speaks, reading has nothing to wait for it, and the
  ration is `IDLE_RATION` times as large.
"""

import heapq
from collections import deque
from dataclasses import dataclass

from higgs_worker.engine.frame_feed import FrameFeed
from higgs_worker.engine.sequence import Submission

IDLE_RATION = 4


@dataclass(slots=True, eq=False)
class Sequence:
    """One submission on its way through the engine."""

    submission: Submission
    arrived: float = 0.0
    """On the engine's clock, seconds."""
    admitted: float = 0.0
    feed: FrameFeed | None = None
    """Who wants frames as they come."""
    slot: int | None = None
    num_unread: int = 0
    """Positions of its prompt that are not read yet."""


class Scheduler:
    """The queue and the slots."""

    def __init__(self, num_slots: int, *, max_prefill: int) -> None:
        self.num_slots = num_slots
        self.max_prefill = max_prefill
        self._free = list(range(num_slots))
        self._waiting: deque[Sequence] = deque()
        self._reading: deque[Sequence] = deque()
        self._running: dict[int, Sequence] = {}

    @property
    def num_waiting(self) -> int:
        """Sequences without a slot."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._waiting or self._reading or self._running)

    @property
    def running(self) -> dict[int, Sequence]:
        """Sequences that speak, by slot."""
        return self._running

    @property
    def sequences(self) -> list[Sequence]:
        """All that have not ended, in order of arrival within each stage."""
        return [*self._running.values(), *self._reading, *self._waiting]

    def enqueue(self, sequence: Sequence) -> None:
        """Take a sequence in."""
        self._waiting.append(sequence)

    def admit(self) -> Sequence | None:
        """Give the next sequence a slot; None when nobody waits or no slot is free.

        The caller then sets `num_unread`.
        """
        if not (self._waiting and self._free):
            return None
        sequence = self._waiting.popleft()
        sequence.slot = heapq.heappop(self._free)
        self._reading.append(sequence)
        return sequence

    def next_move(self) -> tuple[Sequence, int] | None:
        """Say which running sequence should go on in which lower slot, if any should."""
        if not (self._running and self._free):
            return None
        highest, lowest = max(self._running), self._free[0]
        return (self._running[highest], lowest) if lowest < highest else None

    def move(self, sequence: Sequence) -> None:
        """Note that the sequence of `next_move` now stands where it should."""
        assert sequence.slot is not None  # noqa: S101 - running sequences have one
        del self._running[sequence.slot]
        sequence.slot = heapq.heapreplace(self._free, sequence.slot)
        self._running[sequence.slot] = sequence

    def ration(self) -> list[tuple[Sequence, int]]:
        """Say what to read before the next steps: sequences and how many positions of each."""
        left = self.max_prefill * (1 if self._running else IDLE_RATION)
        pieces = []
        for sequence in self._reading:
            if not left:
                break
            num_positions = min(left, sequence.num_unread)
            pieces.append((sequence, num_positions))
            left -= num_positions
        return pieces

    def read(self, sequence: Sequence, num_positions: int) -> None:
        """Note that a piece was read; a prompt read to its end makes its sequence run."""
        sequence.num_unread -= num_positions
        if not sequence.num_unread:
            self._reading.remove(sequence)
            assert sequence.slot is not None  # noqa: S101 - reading sequences have one
            self._running[sequence.slot] = sequence

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out at any stage and free its slot."""
        if sequence.slot is None:
            self._waiting.remove(sequence)
            return
        if self._running.get(sequence.slot) is sequence:
            del self._running[sequence.slot]
        else:
            self._reading.remove(sequence)
        heapq.heappush(self._free, sequence.slot)
        sequence.slot = None
