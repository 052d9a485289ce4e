"""How long a run has gone on, across restarts: what it may spend is minutes, not steps."""

import math
import time
from pathlib import Path
from typing import Any

import torch


class TrainingRun:
    """One network being trained: its checkpoint, its clock and its learning rate."""

    def __init__(self, path: Path, minutes: float, parts: dict[str, Any]) -> None:
        """Take up a run where it was left, if it was.

        Args:
            path: of the checkpoint.
            minutes: of training in all.
            parts: what has a `state_dict`, by name.
        """
        self.step = 0
        self._path = path
        self._seconds = 60 * minutes
        self._parts = parts
        self._before = 0.0
        if path.exists():
            state = torch.load(path, weights_only=True)
            for name, part in parts.items():
                if name in state:  # weights alone begin a run; they have no optimizer
                    part.load_state_dict(state[name])
            self.step, self._before = state["step"], state["seconds"]
        self._begun = self._saved = self._told = time.monotonic()

    @property
    def seconds(self) -> float:
        """Spent so far."""
        return self._before + time.monotonic() - self._begun

    @property
    def fraction(self) -> float:
        """Spent of what may be spent, 0 to 1."""
        return min(1.0, self.seconds / self._seconds) if self._seconds else 1.0

    def rate(self, peak: float, warm_up: int = 200) -> float:
        """Give the learning rate: up in some steps, then a cosine down to a fiftieth."""
        falling = 0.02 + 0.98 * (1 + math.cos(math.pi * self.fraction)) / 2
        return peak * min(1.0, (self.step + 1) / warm_up) * falling

    def goes_on(self, said: str) -> bool:
        """Count a step, save now and then, and say whether there is time for more."""
        self.step += 1
        now = time.monotonic()
        if now - self._told > 30:
            self._told = now
            print(f"{self.seconds / 60:.1f} min, step {self.step}: {said}", flush=True)
        is_over = self.seconds >= self._seconds
        if is_over or now - self._saved > 120:
            self._saved = now
            self.save()
        return not is_over

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {name: part.state_dict() for name, part in self._parts.items()}
        new = self._path.with_suffix(".new")
        torch.save(state | {"step": self.step, "seconds": self.seconds}, new)
        new.replace(self._path)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate
