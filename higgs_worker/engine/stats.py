"""The numbers of an engine, for whoever looks at it from outside. Without torch.

They are read without a lock, so each is right and two of them may be a round apart.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """How full a GPU is."""

    allocated_bytes: int
    """Taken by tensors."""
    reserved_bytes: int
    """Held by torch, for tensors that are there and to come."""
    total_bytes: int


@dataclass(frozen=True, slots=True)
class RunnerStats:
    """The numbers of a `Runner`, since its start."""

    num_slots: int
    num_steps: int
    """Decode steps."""
    num_prefix_hits: int
    """Prompts whose shared beginning was saved."""
    num_prefix_misses: int
    """Prompts whose shared beginning had to be computed."""
    memory: DeviceMemory | None
    """None on a CPU."""


@dataclass(frozen=True, slots=True)
class EngineStats:
    """The numbers of an `Engine`."""

    num_slots_used: int
    num_waiting: int
    """Sequences that wait for a slot."""
    runner: RunnerStats
