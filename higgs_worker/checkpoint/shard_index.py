"""Which files of a checkpoint hold its tensors: one, or the shards that an index lists.

The index is another's, as the files are: a name in it leads to no other directory, and what it says
of a shard is held against the shard when that is opened.
Source: huggingface_hub `save_torch_state_dict`, which writes transformers' shards as well.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from higgs_worker.checkpoint.json_file import read_json
from higgs_worker.errors import InvalidCheckpoint
from higgs_worker.messages import quote

WEIGHTS = "model.safetensors"
"""All tensors, where they are in one file. It comes first, as for transformers."""
INDEX = f"{WEIGHTS}.index.json"

_SHARD = re.compile(r"[A-Za-z0-9][\w-]{0,95}\.safetensors", re.ASCII)


def read_index(directory: Path, source: str) -> Mapping[str, str] | None:
    """Return the file of each tensor, by the tensor's name; None: all are in `model.safetensors`.

    Args:
        directory: of the checkpoint.
        source: what it must hold, for the error text.

    Raises:
        InvalidCheckpoint: the index is damaged, or names what cannot be a shard.
    """
    path = directory / INDEX
    if os.path.lexists(directory / WEIGHTS) or not os.path.lexists(path):
        return None
    shards = read_json(path, source).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise InvalidCheckpoint(f"{path} has no weight_map of tensors; fetch {source} again")
    for tensor, name in shards.items():
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            raise InvalidCheckpoint(
                f"{path}: {quote(tensor)} is in {quote(name)}, which is not the name of a shard; "
                f"fetch {source} again"
            )
    return shards
