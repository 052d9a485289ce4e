"""How much memory a computation holds at once, on any device: the storages that are alive."""

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts what operators allocate inside; what a kernel needs while it runs is unseen."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._before: set[int] = set()
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, then count."""
        for storage in _storages((args, kwargs)):
            if storage._cdata not in self._live:
                self._before.add(storage._cdata)
        out = func(*args, **(kwargs or {}))
        self._live = {key: each for key, each in self._live.items() if not each[0].expired()}
        for storage in _storages(out):
            if storage._cdata not in self._before:
                self._live[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.peak = max(self.peak, sum(num_bytes for _, num_bytes in self._live.values()))
        return out


def _storages(tree: Any) -> list[torch.UntypedStorage]:
    return [each.untyped_storage() for each in tree_leaves(tree) if isinstance(each, torch.Tensor)]
