"""Checkpoints in files, and folders whose files stay in memory where no disk is to be measured."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from higgs_worker.engine.memory import free_memory
from higgs_worker.engine.tensor_reader import NUM_THREADS
from higgs_worker.threads import in_threads

SAFETENSORS_NAMES = {torch.bfloat16: "BF16", torch.float32: "F32"}


def folder_in_memory(num_bytes: int) -> Path | None:
    """Return a folder whose files stay in memory, with space for so many bytes; None: no such."""
    if free_memory(torch.device("cpu")) < 1.3 * num_bytes:
        return None
    for place in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        if place.is_dir() and shutil.disk_usage(place).free > 1.1 * num_bytes:
            return place
    return None


def write_checkpoint(
    directory: Path, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Write a checkpoint from tensors of any device."""
    (directory / "config.json").write_text(json.dumps(config))
    write_tensors(directory / "model.safetensors", tensors, tensors.__getitem__, NUM_THREADS)


def write_tensors(
    path: Path,
    tensors: Mapping[str, torch.Tensor],
    values: Callable[[str], torch.Tensor],
    num_threads: int,
) -> None:
    """Write a file of tensors, several at a time, byte for byte as transformers does.

    safetensors' own writer would hold all of it in memory once more.
    Source: https://github.com/huggingface/safetensors, "Format".

    Args:
        path: of the file.
        tensors: by name; only shapes and dtypes count, so they may be on the meta device.
        values: makes the tensor that is written under a name; called in the threads.
        num_threads: so many are made and written at the same time.
    """
    head, offsets = header(tensors)
    with path.open("wb") as file:
        file.write(head)
        file.flush()

        def write(name: str) -> None:
            data = memoryview(values(name).cpu().view(torch.uint8).numpy()).cast("B")
            place = len(head) + offsets[name]
            while data:
                count = os.pwrite(file.fileno(), data, place)
                data, place = data[count:], place + count

        for _ in in_threads(write, tensors, num_threads):
            pass


def header(tensors: Mapping[str, torch.Tensor]) -> tuple[bytes, dict[str, int]]:
    """Return what stands before the tensors of one dtype, and where each begins after it."""
    described: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offsets, end = {}, 0
    for name in sorted(tensors):
        tensor = tensors[name]
        offsets[name], end = end, end + tensor.nbytes
        described[name] = {
            "dtype": SAFETENSORS_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offsets[name], end],
        }
    head = json.dumps(described, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head, offsets
