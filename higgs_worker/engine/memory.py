"""How many slots of which length fit into memory: decided once, at start.

The engine allocates everything it keeps then; nothing grows with requests afterwards. A sequence
that does not fit is refused when it is submitted.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.scheduler import IDLE_PREFILL_FACTOR, MAX_PREFILL
from higgs_worker.errors import InvalidSettings

LIBRARY_BYTES = 896 << 20
"""Left free for captured steps (190 MB for the 63 usual ones on an H100, and as much for others),
for workspaces and handles of cuBLAS and cuDNN, and for the allocator's rounding."""
MAX_PREFIX_BYTES = 1 << 30
"""Some thirty voices with a reference of 10 s, in bf16."""
MAX_AUTO_SLOTS = 64
"""The largest batch that `make gpu` measures. HIGGS_MAX_SLOTS may ask for more."""
MIN_LENGTH = 512
"""Positions; fewer would not hold one sentence with its prompt."""

# The files of a memory limit, of the usage, and the entry of `memory.stat` for unused page cache.
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What the engine allocates."""

    num_slots: int
    max_length: int
    """Positions per slot."""
    slot_bytes: int
    """Of one slot."""
    prefix_cache_bytes: int
    """Upper bound."""
    reserved_bytes: int
    """Left free for all that comes and goes: activations, graphs, the encoder."""


def slot_bytes(config: ModelConfig, dtype: torch.dtype, max_length: int) -> int:
    """Return the bytes of one slot: keys and values, columns, random numbers."""
    kv = 2 * config.num_layers * config.num_kv_heads * config.head_dim * dtype.itemsize
    columns = config.num_codebooks * torch.int64.itemsize
    random = config.num_codebooks * 2 * torch.float32.itemsize
    return max_length * (kv + columns + random)


def working_bytes(config: ModelConfig, dtype: torch.dtype, max_length: int) -> int:
    """Return the most that one prefill takes: its rows in one layer, and a mask."""
    num_rows = min(IDLE_PREFILL_FACTOR * MAX_PREFILL, max_length)
    group = config.num_heads // config.num_kv_heads
    # Two norms and the residual; queries, keys and values while they are rotated; then gate, up and
    # their product.
    heads = (config.num_heads + 2 * config.num_kv_heads) * config.head_dim
    row = 3 * config.width + max(4 * heads, 3 * config.mlp_width)
    return num_rows * (row + group * max_length) * dtype.itemsize


def plan_memory(
    config: ModelConfig,
    dtype: torch.dtype,
    *,
    free_bytes: int,
    max_slots: int | None,
    max_length: int,
    encoder_bytes: int = 0,
) -> MemoryPlan:
    """Divide the free memory among slots.

    Args:
        config, dtype: of the model, which is loaded already.
        free_bytes: on its device, now.
        max_slots: slots to allocate; None: as many as fit, up to `MAX_AUTO_SLOTS`.
        max_length: positions per slot.
        encoder_bytes: of the codec's encoder with its longest reference, which is loaded later.

    Raises:
        InvalidSettings: that many slots do not fit; the message names the settings to lower.
    """
    reserved = LIBRARY_BYTES + working_bytes(config, dtype, max_length) + encoder_bytes
    usable = max(0, free_bytes - reserved)
    prefix_bytes = min(MAX_PREFIX_BYTES, usable // 10)
    size = slot_bytes(config, dtype, max_length)
    fitting = (usable - prefix_bytes) // size
    if fitting < (max_slots or 1):
        raise InvalidSettings(
            f"{max_slots or 1} slots of {max_length} positions need "
            f"{(max_slots or 1) * size / 1e9:.2f} GB, and {(usable - prefix_bytes) / 1e9:.2f} GB "
            f"of memory are free for them: lower HIGGS_MAX_SLOTS, HIGGS_MAX_LENGTH (not below "
            f"{MIN_LENGTH}) or HIGGS_MAX_REFERENCE_S, or take a larger GPU"
        )
    return MemoryPlan(
        num_slots=max_slots or min(fitting, MAX_AUTO_SLOTS),
        max_length=max_length,
        slot_bytes=size,
        prefix_cache_bytes=prefix_bytes,
        reserved_bytes=reserved,
    )


def free_memory(device: torch.device) -> int:
    """Return the free bytes of a GPU, or half of a CPU's: other processes need memory too.

    What torch only keeps, as weights that were copied into another layout, is given back first.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    machine = _available_bytes()
    container = container_free_memory()
    return (machine if container is None else min(machine, container)) // 2


def _available_bytes() -> int:
    """Return the bytes available without swapping: free memory and the page cache."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists() and (found := re.search(r"MemAvailable: +(\d+) kB", meminfo.read_text())):
        return int(found[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def container_free_memory(
    groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> int | None:
    """Return how many bytes this process's control groups leave free; None: there is no limit.

    The machine's own free memory says nothing about a container's limit, and a process that exceeds
    the limit is killed.

    Args:
        groups: where the control groups are mounted, version 1 or 2.
        own: the file that names this process's groups.
    """
    if not own.exists():
        return None
    free: list[int] = []
    for line in own.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            free += _free_in_groups(groups, path, *_V2)
        elif "memory" in controllers.split(","):
            free += _free_in_groups(groups / "memory", path, *_V1)
    return min(free, default=None)


def _free_in_groups(root: Path, path: str, limit: str, usage: str, inactive: str) -> Iterator[int]:
    """Yield the free bytes of each group with a limit, from `path` up to the root.

    Inside a container the path may be the host's; then only the root exists.
    """
    directory = root.joinpath(*(part for part in path.split("/") if part not in ("", "..")))
    for group in (directory, *directory.parents):
        if (group / limit).exists() and (most := (group / limit).read_text().strip()) != "max":
            # The page cache, weights in it included, counts as used, but the kernel drops it first
            # when memory is short.
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            yield max(0, int(most) - int((group / usage).read_text()) + int(stat[inactive]))
        if group == root:
            return
