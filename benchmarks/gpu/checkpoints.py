"""Checkpoints of random weights in files that stay in memory: the disk is not what is measured."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
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
    """Write a checkpoint from tensors of any device, several at a time.

    safetensors' own writer would hold all of it in memory once more.
    Source: https://github.com/huggingface/safetensors, "Format".
    """
    header, offsets, end = {}, {}, 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": SAFETENSORS_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
        offsets[name] = begin
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    head = len(head).to_bytes(8, "little") + head
    (directory / "config.json").write_text(json.dumps(config))
    with (directory / "model.safetensors").open("wb") as file:
        file.write(head)
        file.flush()

        def write(name: str) -> None:
            data = memoryview(tensors[name].cpu().view(torch.uint8).numpy()).cast("B")
            place = len(head) + offsets[name]
            while data:
                count = os.pwrite(file.fileno(), data, place)
                data, place = data[count:], place + count

        for _ in in_threads(write, tensors, NUM_THREADS):
            pass
