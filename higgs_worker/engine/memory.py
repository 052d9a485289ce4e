"""How many slots of which length fit into memory: decided once, at start.

The engine allocates everything it keeps then; nothing grows with requests afterwards, except that
a CPU gives its slots memory as they are first used. A sequence that does not fit is refused when it
is submitted.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.linear import best_layout
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.scheduler import IDLE_PREFILL_FACTOR, MAX_PREFILL
from higgs_worker.errors import InvalidSettings

LIBRARY_BYTES = 896 << 20
"""Left free for captured steps (190 MB for the 63 usual ones on an H100, and as much for others),
for workspaces and handles of cuBLAS and cuDNN, and for the allocator's rounding."""
MAX_PREFIX_BYTES = 1 << 30
"""Some thirty voices with a reference of 10 s, in bf16."""
CPU_LIBRARY_BYTES = 256 << 20
"""The same on a CPU, which captures nothing: the codec's largest call (110 MB at the published
sizes) and what oneDNN and the threads' allocators keep beside it."""
MAX_AUTO_SLOTS = 64
"""The largest batch that `make gpu` measures. HIGGS_MAX_SLOTS may ask for more."""
MAX_CPU_SLOTS = 8
"""At the real sizes a CPU's step takes 1.2 times as long for 8 sequences as for one, and again
twice as long for 32: more at once would only make each of them slower."""
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


def max_auto_slots(device: torch.device) -> int:
    """Return the most slots that are taken where the operator names no number."""
    return MAX_CPU_SLOTS if device.type == "cpu" else MAX_AUTO_SLOTS


def weight_bytes(config: ModelConfig, number_format: NumberFormat, device: torch.device) -> int:
    """Return the bytes of a model's weights on a device; on a CPU small models are copied once."""
    weights = Weights.empty(config, device=torch.device("meta"), number_format=number_format)
    num_bytes = sum(each.nbytes for each in weights.by_name(config).values())
    is_shared = best_layout(num_bytes, device, number_format.dtype) == "shared"
    return num_bytes if is_shared else 2 * num_bytes


def slot_bytes(config: ModelConfig, dtype: torch.dtype, max_length: int) -> int:
    """Return the bytes of one slot: keys and values, columns, random numbers."""
    kv = 2 * config.num_layers * config.num_kv_heads * config.head_dim * dtype.itemsize
    columns = config.num_codebooks * torch.int64.itemsize
    random = config.num_codebooks * 2 * torch.float32.itemsize
    return max_length * (kv + columns + random)


def library_bytes(device: torch.device) -> int:
    """Return what is left free for all that no request accounts for."""
    return CPU_LIBRARY_BYTES if device.type == "cpu" else LIBRARY_BYTES


def working_bytes(
    config: ModelConfig, number_format: NumberFormat, device: torch.device, max_length: int
) -> int:
    """Return the most that one prefill takes: its rows in one layer, and a mask.

    On a GPU an 8-bit matrix is converted for its product (`Int8Linear`): room for the largest one
    is kept twice, because captured steps have memory of their own.
    """
    num_rows = min(IDLE_PREFILL_FACTOR * MAX_PREFILL, max_length)
    group = config.num_heads // config.num_kv_heads
    # Two norms and the residual; queries, keys and values while they are rotated; then gate, up and
    # their product.
    heads = (config.num_heads + 2 * config.num_kv_heads) * config.head_dim
    row = 3 * config.width + max(4 * heads, 3 * config.mlp_width)
    is_converted = number_format.has_int8_layers and device.type != "cpu"
    converted = 2 * (2 * config.mlp_width * config.width) if is_converted else 0
    return (num_rows * (row + group * max_length) + converted) * number_format.dtype.itemsize


def plan_memory(
    config: ModelConfig,
    number_format: NumberFormat,
    device: torch.device,
    *,
    free_bytes: int,
    max_slots: int | None,
    max_length: int,
    loading_bytes: int = 0,
    encoder_bytes: int = 0,
) -> MemoryPlan:
    """Divide the free memory among slots.

    Args:
        config, number_format, device: of the model.
        free_bytes: on the device, now.
        max_slots: slots to allocate; None: as many as fit, up to `max_auto_slots`.
        max_length: positions per slot.
        loading_bytes: of what is not loaded yet, and will be before the slots are there.
        encoder_bytes: of the codec's encoder with its longest reference, which is loaded later.

    Raises:
        InvalidSettings: that many slots do not fit; the message says what would.
    """
    working = working_bytes(config, number_format, device, max_length)
    reserved = library_bytes(device) + working + encoder_bytes
    usable = max(0, free_bytes - loading_bytes - reserved)
    prefix_bytes = min(MAX_PREFIX_BYTES, usable // 10)
    size = slot_bytes(config, number_format.dtype, max_length)
    fitting = (usable - prefix_bytes) // size
    least = max_slots or 1
    if fitting < least:
        needed = loading_bytes + reserved + prefix_bytes + least * size
        slots, fewer = ("one slot", "") if least == 1 else (f"{least} slots", "HIGGS_MAX_SLOTS, ")
        more = "give the worker more memory" if device.type == "cpu" else "take a larger GPU"
        smaller = "" if number_format.has_int8_layers else "set HIGGS_DTYPE to int8, "
        raise InvalidSettings(
            f"the model takes {needed / 1e9:.2f} GB more with {slots} of {max_length} positions, "
            f"{size / 1e9:.2f} GB each, and {free_bytes / 1e9:.2f} GB of memory are free: lower "
            f"{fewer}HIGGS_MAX_LENGTH (not below {MIN_LENGTH}) or HIGGS_MAX_REFERENCE_S, "
            f"{smaller}or {more}"
        )
    return MemoryPlan(
        num_slots=max_slots or min(fitting, max_auto_slots(device)),
        max_length=max_length,
        slot_bytes=size,
        prefix_cache_bytes=prefix_bytes,
        reserved_bytes=reserved,
    )


def free_memory(device: torch.device) -> int:
    """Return the free bytes of a GPU, or those that a CPU's machine and container leave free.

    On a GPU, what torch only keeps is given back first.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    machine = _available_bytes()
    container = container_free_memory()
    return machine if container is None else min(machine, container)


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
