"""Which sequence runs next: a queue, slots in order of arrival, a prefill budget per round.

It decides and counts; it never touches a device, a thread or a clock. The policy:

- Waiting sequences enter slots in order of arrival. The lowest free slot is used first, because a
  step computes all rows up to the highest running one.
- When a slot stays free with nobody waiting, the running sequence in the highest slot moves into
  it. A sequence that ends causes at most one move, which costs less than a step.
- Prompts are prefilled in order of arrival too, long ones in chunks. While sequences run, at most
  `max_prefill` positions are prefilled between two polls, so a round of steps is delayed by that
  much and no more. While none runs, the budget is `IDLE_PREFILL_FACTOR` times as large.
"""

import heapq
from collections import deque
from dataclasses import dataclass

from higgs_worker.engine.frame_feed import FrameFeed
from higgs_worker.engine.sequence import Submission

MAX_PREFILL = 512
"""Positions prefilled per round while sequences run. On an H100 they take 14 ms, half as long as
the round's steps (docs/performance.md)."""
IDLE_PREFILL_FACTOR = 4
"""Larger chunks cost less per position; the engine still looks at its inbox between them."""


@dataclass(slots=True, eq=False)
class Sequence:
    """One submission on its way through the engine."""

    submission: Submission
    arrived: float = 0.0
    """When it was submitted, seconds on the engine's clock."""
    admitted: float = 0.0
    """When it got its slot, on the same clock."""
    feed: FrameFeed | None = None
    """Passes frames on as they are completed; None: only the whole result is wanted."""
    slot: int | None = None
    """None while it waits."""
    num_prefill_left: int = 0
    """Positions of its prompt that are not in the cache yet."""


class Scheduler:
    """Every sequence that has not ended is in one of three stages: waiting, prefilling, running."""

    def __init__(self, num_slots: int, *, max_prefill: int) -> None:
        """Start with all slots free.

        Args:
            num_slots: sequences that can prefill or run at the same time.
            max_prefill: positions per round while any sequence runs.
        """
        self.max_prefill = max_prefill
        self._num_slots = num_slots
        self._free = list(range(num_slots))
        self._waiting: deque[Sequence] = deque()
        self._prefilling: deque[Sequence] = deque()
        self._running: dict[int, Sequence] = {}

    @property
    def num_waiting(self) -> int:
        """Sequences without a slot."""
        return len(self._waiting)

    @property
    def num_slots_used(self) -> int:
        """Slots that hold a sequence."""
        return self._num_slots - len(self._free)

    @property
    def is_idle(self) -> bool:
        """Whether no sequence is left at any stage."""
        return not (self._waiting or self._prefilling or self._running)

    @property
    def running(self) -> dict[int, Sequence]:
        """Sequences that take part in decode steps, by slot."""
        return self._running

    @property
    def sequences(self) -> list[Sequence]:
        """All sequences that have not ended, in order of arrival within each stage."""
        return [*self._running.values(), *self._prefilling, *self._waiting]

    def enqueue(self, sequence: Sequence) -> None:
        """Append a sequence to the queue."""
        self._waiting.append(sequence)

    def admit(self) -> Sequence | None:
        """Assign a slot to the next waiting sequence; None if none waits or no slot is free.

        The caller then sets `num_prefill_left`.
        """
        if not (self._waiting and self._free):
            return None
        sequence = self._waiting.popleft()
        sequence.slot = heapq.heappop(self._free)
        self._prefilling.append(sequence)
        return sequence

    def next_move(self) -> tuple[Sequence, int] | None:
        """Return a running sequence and the lower slot it should move to; None if none should."""
        if not (self._running and self._free):
            return None
        highest, lowest = max(self._running), self._free[0]
        return (self._running[highest], lowest) if lowest < highest else None

    def record_move(self, sequence: Sequence) -> None:
        """Record that the sequence of `next_move` is in its new slot."""
        assert sequence.slot is not None  # noqa: S101 - running sequences have one
        del self._running[sequence.slot]
        sequence.slot = heapq.heapreplace(self._free, sequence.slot)
        self._running[sequence.slot] = sequence

    def next_prefill(self) -> list[tuple[Sequence, int]]:
        """Return what to prefill before the next steps: sequences, each with its positions."""
        budget = self.max_prefill * (1 if self._running else IDLE_PREFILL_FACTOR)
        chunks = []
        for sequence in self._prefilling:
            if not budget:
                break
            num_positions = min(budget, sequence.num_prefill_left)
            chunks.append((sequence, num_positions))
            budget -= num_positions
        return chunks

    def record_prefill(self, sequence: Sequence, num_positions: int) -> None:
        """Record that positions are in the cache; with the last of them the sequence runs."""
        sequence.num_prefill_left -= num_positions
        if not sequence.num_prefill_left:
            self._prefilling.remove(sequence)
            assert sequence.slot is not None  # noqa: S101 - prefilling sequences have one
            self._running[sequence.slot] = sequence

    def remove(self, sequence: Sequence) -> None:
        """Remove a sequence at any stage and free its slot."""
        if sequence.slot is None:
            self._waiting.remove(sequence)
            return
        if self._running.get(sequence.slot) is sequence:
            del self._running[sequence.slot]
        else:
            self._prefilling.remove(sequence)
        heapq.heappush(self._free, sequence.slot)
        sequence.slot = None
