"""What the step keeps per slot, as tensors on the device."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

NEVER = 1 << 30
"""A step that no sequence reaches."""


@dataclass(slots=True)
class SlotState:
    """State of some rows; all [B] but `column` and `ends`."""

    row: Tensor
    """int64, the slot itself: first index into history and draws."""
    column: Tensor
    """[B, K] int64, the newest column, not yet in the cache."""
    position: Tensor
    """int64, where `column` will stand."""
    step: Tensor
    """int64, index of the column that is drawn next; column 0 is all stream BOS."""
    ends: Tensor
    """[B, 2] int64: the step at which an end code first appeared, or `NEVER`; and the columns that
    are needed, at most the cap."""
    done: Tensor
    """bool; a row that is done keeps computing and changes nothing that counts."""
    health: Tensor
    """float32, a sum over all logits' peaks: not finite once any logit was not."""
    temperature: Tensor
    """float32, above 0; greedy is a `top_k` of 1 and draws of 0."""
    top_p: Tensor
    """float32."""
    top_k: Tensor
    """int64."""
    ras_window: Tensor
    """int64."""
    ras_max_repeats: Tensor
    """int64."""

    @classmethod
    def idle(cls, num_slots: int, num_codebooks: int, device: torch.device) -> "SlotState":
        """Rows without a sequence: done, at position 0."""

        def whole(value: int) -> Tensor:
            return torch.full((num_slots,), value, device=device)

        return cls(
            row=torch.arange(num_slots, device=device),
            column=torch.zeros((num_slots, num_codebooks), dtype=torch.int64, device=device),
            position=whole(0),
            step=whole(1),
            ends=torch.stack([whole(NEVER), whole(0)], dim=1),
            done=torch.ones(num_slots, dtype=torch.bool, device=device),
            health=torch.zeros(num_slots, device=device),
            temperature=torch.ones(num_slots, device=device),
            top_p=torch.ones(num_slots, device=device),
            top_k=whole(1),
            ras_window=whole(0),
            ras_max_repeats=whole(1),
        )

    def select(self, rows: slice | Tensor) -> "SlotState":
        """Give some rows: views for a slice, copies for an index."""
        return SlotState(*(getattr(self, field.name)[rows] for field in fields(self)))

    def copy(self, source: int, target: int) -> None:
        """Copy all of one row to another, but for which slot it is."""
        for field in fields(self):
            if field.name != "row":
                values = getattr(self, field.name)
                values[target] = values[source]

    def store(self, rows: Tensor, other: "SlotState") -> None:
        """Put copies of rows back."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)
