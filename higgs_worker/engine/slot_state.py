"""What a step keeps per slot, as tensors on the device."""

from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

NEVER = 1 << 30
"""More steps than any sequence has."""


@dataclass(slots=True)
class SlotState:
    """State of some slots. All counters are one tensor, so that one addition advances them all.

    `Columns.draw` says how each counter changes.
    """

    counters: Tensor
    """[B, 5] int64: position, history_row, step, since_end, overdue."""
    column: Tensor
    """[B, K] int64, the newest column, not yet in the cache."""
    health: Tensor
    """[B, K] float32, sum of the largest logits: not finite once any logit was not."""
    temperature: Tensor
    """[B] float32, above 0; greedy is a `top_k` of 1 and draws of 0."""
    top_p: Tensor
    """[B] float32."""
    top_k: Tensor
    """[B] int64; 0 keeps all ids."""
    ras_window: Tensor
    """[B] int64, columns."""
    ras_max_repeats: Tensor
    """[B] int64."""

    # Views of `counters`.
    position: Tensor = field(init=False)
    """[B], where `column` will be written in the cache."""
    history_row: Tensor = field(init=False)
    """[B], row of the history and of the draws for the column that is drawn next."""
    step: Tensor = field(init=False)
    """[B, 1], index of the column that is drawn next; column 0 is all stream BOS."""
    since_end: Tensor = field(init=False)
    """[B, 1], columns drawn from the first one with an end code on; far below 0 until then."""
    overdue: Tensor = field(init=False)
    """[B, 1], columns drawn minus columns needed. 0 or more means finished: the row still runs in
    the fixed-shape step, but its output is ignored."""
    end_counters: Tensor = field(init=False)
    """[B, 2], since_end and overdue: the two that an end code raises."""

    def __post_init__(self) -> None:
        """Name the columns of `counters`."""
        self.position, self.history_row = self.counters[:, 0], self.counters[:, 1]
        self.step, self.since_end, self.overdue = (self.counters[:, i : i + 1] for i in (2, 3, 4))
        self.end_counters = self.counters[:, 3:]

    @classmethod
    def idle(cls, history_rows: Tensor, num_codebooks: int) -> "SlotState":
        """Return rows without a sequence: finished, at position 0, with their history rows [B]."""
        num_slots, device = len(history_rows), history_rows.device

        def whole(value: int) -> Tensor:
            return torch.full((num_slots,), value, device=device)

        counters = [whole(0), history_rows, whole(1), whole(-NEVER), whole(0)]
        return cls(
            counters=torch.stack(counters, dim=1),
            column=torch.zeros((num_slots, num_codebooks), dtype=torch.int64, device=device),
            health=torch.zeros((num_slots, num_codebooks), device=device),
            temperature=torch.ones(num_slots, device=device),
            top_p=torch.ones(num_slots, device=device),
            top_k=whole(1),
            ras_window=whole(0),
            ras_max_repeats=whole(1),
        )

    def select(self, rows: slice | Tensor) -> "SlotState":
        """Return some rows: views for a slice, copies for an index."""
        return SlotState(*(values[rows] for values in self._stored()))

    def copy(self, source: int, target: int) -> None:
        """Copy one row to another, in place; the caller must then correct `history_row`."""
        for values in self._stored():
            values[target] = values[source]

    def store(self, rows: Tensor, other: "SlotState") -> None:
        """Write rows back, in place."""
        for values, copies in zip(self._stored(), other._stored(), strict=True):
            values[rows] = copies

    def _stored(self) -> list[Tensor]:
        return [getattr(self, part.name) for part in fields(self) if part.init]
