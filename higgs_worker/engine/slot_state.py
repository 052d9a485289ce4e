"""What the step keeps per slot, as tensors on the device."""

from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

NEVER = 1 << 30
"""More steps than any sequence has."""


@dataclass(slots=True)
class SlotState:
    """State of some rows. What counts steps is one tensor, so that a step advances all at once."""

    clock: Tensor
    """[B, 5] int64: the five below, in their order."""
    column: Tensor
    """[B, K] int64, the newest column, not yet in the cache."""
    health: Tensor
    """[B, K] float32, sums of the logits' peaks: not finite once any logit was not."""
    temperature: Tensor
    """[B] float32, above 0; greedy is a `top_k` of 1 and draws of 0."""
    top_p: Tensor
    """[B] float32."""
    top_k: Tensor
    """[B] int64."""
    ras_window: Tensor
    """[B] int64."""
    ras_max_repeats: Tensor
    """[B] int64."""

    position: Tensor = field(init=False)
    """[B], where `column` will stand."""
    place: Tensor = field(init=False)
    """[B], row of history and draws for the column that is drawn next."""
    step: Tensor = field(init=False)
    """[B, 1], index of the column that is drawn next; column 0 is all stream BOS."""
    since_end: Tensor = field(init=False)
    """[B, 1], steps since an end code first appeared; far below 0 until then."""
    overdue: Tensor = field(init=False)
    """[B, 1], columns beyond those that are needed. From 0 on the row is done: it keeps computing
    and changes nothing that counts."""
    ends: Tensor = field(init=False)
    """[B, 2], both of these."""

    def __post_init__(self) -> None:
        """Name the parts of the clock."""
        self.position, self.place = self.clock[:, 0], self.clock[:, 1]
        self.step, self.since_end, self.overdue = (self.clock[:, i : i + 1] for i in (2, 3, 4))
        self.ends = self.clock[:, 3:]

    @classmethod
    def idle(cls, places: Tensor, num_codebooks: int) -> "SlotState":
        """Make rows without a sequence: done, at position 0, with their places [B]."""
        num_slots, device = len(places), places.device

        def whole(value: int) -> Tensor:
            return torch.full((num_slots,), value, device=device)

        return cls(
            clock=torch.stack([whole(0), places, whole(1), whole(-NEVER), whole(0)], dim=1),
            column=torch.zeros((num_slots, num_codebooks), dtype=torch.int64, device=device),
            health=torch.zeros((num_slots, num_codebooks), device=device),
            temperature=torch.ones(num_slots, device=device),
            top_p=torch.ones(num_slots, device=device),
            top_k=whole(1),
            ras_window=whole(0),
            ras_max_repeats=whole(1),
        )

    def select(self, rows: slice | Tensor) -> "SlotState":
        """Give some rows: views for a slice, copies for an index."""
        return SlotState(*(values[rows] for values in self._stored()))

    def copy(self, source: int, target: int) -> None:
        """Copy all of one row to another; `place` is the caller's to put right."""
        for values in self._stored():
            values[target] = values[source]

    def store(self, rows: Tensor, other: "SlotState") -> None:
        """Put copies of rows back."""
        for values, copies in zip(self._stored(), other._stored(), strict=True):
            values[rows] = copies

    def _stored(self) -> list[Tensor]:
        return [getattr(self, part.name) for part in fields(self) if part.init]
