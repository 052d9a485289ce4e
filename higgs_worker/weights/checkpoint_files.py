"""Which files of a repository make a checkpoint; no other is pulled.

Small files come first, because they tell what the large ones are: a configuration whether they are
the right model's, and an index which shards there are.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from higgs_worker.checkpoint.shard_index import INDEX, WEIGHTS, read_index

FILES: Mapping[str, tuple[str, ...]] = {
    "model": ("config.json", "tokenizer.json", WEIGHTS),
    "codec": ("config.json", WEIGHTS),
}
"""By kind of checkpoint: what must be there; an index and its shards may stand for the weights."""

OPTIONAL_FILES: Mapping[str, tuple[str, ...]] = {"model": ("generation_config.json",), "codec": ()}
"""By kind: what is used where it is there."""

UNREAD: Mapping[str, tuple[str, ...]] = {
    "model": ("text_lm_head.",),
    "codec": ("decoder_semantic.", "fc1."),
}
"""By kind: how the names of tensors begin that no loader reads."""


def first_files(kind: str, listed: Collection[str]) -> list[str]:
    """Return the files to pull before all others.

    Args:
        kind: "model" or "codec".
        listed: the files of the repository. One that must be there and is not is returned as well.
    """
    names = [name for name in FILES[kind] if name != WEIGHTS]
    names += [name for name in OPTIONAL_FILES[kind] if name in listed]
    if WEIGHTS not in listed:
        names.append(INDEX if INDEX in listed else WEIGHTS)
    return names


def all_files(kind: str, directory: Path) -> list[str]:
    """Return the files of the checkpoint in a directory, whose first ones are there.

    Of shards, only those that hold a tensor that is read.

    Raises:
        InvalidCheckpoint: the index of the shards is damaged.
    """
    candidates = (*OPTIONAL_FILES[kind], INDEX)
    index = read_index(directory, "it")
    if index is None:
        weights = {WEIGHTS}
    else:
        weights = {index[name] for name in index if not name.startswith(UNREAD[kind])}
    there = {name for name in candidates if os.path.lexists(directory / name)}
    return [*first_files(kind, there | weights), *sorted(weights)]
