"""How many slots of which length the memory holds: decided once, at start.

Everything the engine keeps is allocated then; nothing grows with requests afterwards. What does not
fit is refused when it is submitted, never dropped later.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from higgs_worker.engine.config import ModelConfig
from higgs_worker.errors import InvalidSettings

RESERVE_BYTES = 1 << 30
"""Left free for the passes' own tensors, the codec and the allocator's rounding."""
MAX_PREFIX_BYTES = 1 << 30
"""Some thirty voices with a reference of 10 s."""
MAX_AUTO_SLOTS = 64
"""The largest batch that `make gpu` measures. HIGGS_MAX_SLOTS may ask for more."""
MIN_LENGTH = 512
"""Positions below which not even a sentence with its prompt would fit."""

_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")


@dataclass(frozen=True, slots=True)
class Budget:
    """What the engine allocates."""

    num_slots: int
    max_length: int
    slot_bytes: int
    prefix_cache_bytes: int


def slot_bytes(config: ModelConfig, dtype: torch.dtype, max_length: int) -> int:
    """Count what one slot takes: keys and values, columns, random numbers."""
    kv = 2 * config.num_layers * config.num_kv_heads * config.head_dim * dtype.itemsize
    columns = config.num_codebooks * torch.int64.itemsize
    random = config.num_codebooks * 2 * torch.float32.itemsize
    return max_length * (kv + columns + random)


def plan_memory(
    config: ModelConfig,
    dtype: torch.dtype,
    *,
    free_bytes: int,
    max_slots: int | None,
    max_length: int,
) -> Budget:
    """Divide the free memory among slots.

    Args:
        config, dtype: of the model that is loaded already.
        free_bytes: on its device, now.
        max_slots: what the operator asked for; None: as many as fit, up to `MAX_AUTO_SLOTS`.
        max_length: positions per slot.

    Raises:
        InvalidSettings: what was asked for does not fit; says what would.
    """
    usable = max(0, free_bytes - RESERVE_BYTES)
    prefix_bytes = min(MAX_PREFIX_BYTES, usable // 10)
    size = slot_bytes(config, dtype, max_length)
    fitting = (usable - prefix_bytes) // size
    if fitting < (max_slots or 1):
        raise InvalidSettings(
            f"{max_slots or 1} slots of {max_length} positions need "
            f"{(max_slots or 1) * size / 1e9:.2f} GB and {(usable - prefix_bytes) / 1e9:.2f} GB of "
            f"memory are free for them: lower HIGGS_MAX_SLOTS or HIGGS_MAX_LENGTH (not below "
            f"{MIN_LENGTH}), or take a larger GPU"
        )
    return Budget(
        num_slots=max_slots or min(fitting, MAX_AUTO_SLOTS),
        max_length=max_length,
        slot_bytes=size,
        prefix_cache_bytes=prefix_bytes,
    )


def free_memory(device: torch.device) -> int:
    """Give the free bytes of a device; of a CPU's memory, half: it is not ours alone."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    machine = _available_bytes()
    container = container_free_memory()
    return (machine if container is None else min(machine, container)) // 2


def _available_bytes() -> int:
    """Give what can be had without swapping: free memory, and what only caches files."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists() and (found := re.search(r"MemAvailable: +(\d+) kB", meminfo.read_text())):
        return int(found[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def container_free_memory(
    groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> int | None:
    """Give the bytes up to the nearest limit of this process's groups; None: there is no limit.

    Args:
        groups: where the groups are mounted.
        own: the file that names this process's groups.
    """
    if not own.exists():
        return None
    rooms: list[int] = []
    for line in own.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            rooms += _rooms(groups, path, *_V2)
        elif "memory" in controllers.split(","):
            rooms += _rooms(groups / "memory", path, *_V1)
    return min(rooms, default=None)


def _rooms(root: Path, path: str, limit: str, usage: str, unused: str) -> Iterator[int]:
    """Give what each group from `path` up to the root leaves.

    Inside a container the path may be the host's, and then only the root exists.
    """
    directory = root.joinpath(*(part for part in path.split("/") if part not in ("", "..")))
    for group in (directory, *directory.parents):
        if (group / limit).exists() and (most := (group / limit).read_text().strip()) != "max":
            # Files that were read and are not in use, weights among them, count as used but go
            # first when memory is short.
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            yield max(0, int(most) - int((group / usage).read_text()) + int(stat[unused]))
        if group == root:
            return
