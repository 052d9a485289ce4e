"""Checkpoints in shards, as large ones are published."""

import json
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def shard(directory: Path, number_of: Callable[[str], int]) -> dict[str, str]:
    """Replace a checkpoint's file by shards.

    Args:
        directory: of the checkpoint.
        number_of: returns the number of the shard for a tensor, from 1.

    Returns:
        the file of each tensor.
    """
    tensors = load_file(directory / WEIGHTS)
    numbers = {name: number_of(name) for name in tensors}
    last = max(numbers.values())
    files = {name: f"model-{each:05}-of-{last:05}.safetensors" for name, each in numbers.items()}
    for file in set(files.values()):
        kept = {name: tensor for name, tensor in tensors.items() if files[name] == file}
        save_file(kept, directory / file, metadata={"format": "pt"})
    (directory / WEIGHTS).unlink()
    write_index(directory, files)
    return files


def write_index(directory: Path, files: object) -> None:
    """Write an index that names a file for each tensor."""
    index = {"metadata": {"total_size": 1}, "weight_map": files}
    (directory / INDEX).write_text(json.dumps(index))
