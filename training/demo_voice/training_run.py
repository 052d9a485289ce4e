"""A training run with a budget of minutes, kept across restarts."""

import math
import time
from pathlib import Path
from typing import Any

import torch


class TrainingRun:
    """One network in training: its checkpoint, its time and its learning rate."""

    def __init__(self, path: Path, minutes: float, parts: dict[str, Any]) -> None:
        """Load the checkpoint, if there is one.

        Args:
            path: of the checkpoint.
            minutes: of training in total, all restarts included.
            parts: objects with a `state_dict`, by name.
        """
        self.step = 0
        self._path = path
        self._seconds = 60 * minutes
        self._parts = parts
        self._before = 0.0
        if path.exists():
            state = torch.load(path, weights_only=True)
            for name, part in parts.items():
                if name in state:  # a run that starts from weights has no optimizer state
                    part.load_state_dict(state[name])
            self.step, self._before = state["step"], state["seconds"]
        self._started = self._saved = self._logged = time.monotonic()

    @property
    def seconds(self) -> float:
        """Return the time spent so far, all restarts included."""
        return self._before + time.monotonic() - self._started

    @property
    def fraction(self) -> float:
        """Return the share of the time that is spent, 0 to 1."""
        return min(1.0, self.seconds / self._seconds) if self._seconds else 1.0

    def rate(self, peak: float, warm_up: int = 200) -> float:
        """Return the learning rate: a linear rise, then a cosine down to a fiftieth."""
        falling = 0.02 + 0.98 * (1 + math.cos(math.pi * self.fraction)) / 2
        return peak * min(1.0, (self.step + 1) / warm_up) * falling

    def advance(self, summary: str) -> bool:
        """Count a step, save every two minutes, and return whether time is left."""
        self.step += 1
        now = time.monotonic()
        if now - self._logged > 30:
            self._logged = now
            print(f"{self.seconds / 60:.1f} min, step {self.step}: {summary}", flush=True)
        is_over = self.seconds >= self._seconds
        if is_over or now - self._saved > 120:
            self._saved = now
            self.save()
        return not is_over

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {name: part.state_dict() for name, part in self._parts.items()}
        new = self._path.with_suffix(".new")
        torch.save(state | {"step": self.step, "seconds": self.seconds}, new)
        new.replace(self._path)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate
