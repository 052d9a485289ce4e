"""Which operators a computation runs, views left out: on a GPU each is at least one kernel."""

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Operators(TorchDispatchMode):
    """Counts the operators inside, by name, that write into a tensor or return a new one."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, then count it."""
        known = _places((args, kwargs))
        out = func(*args, **(kwargs or {}))
        if func._schema.is_mutable or _places(out) - known:
            self.count[func.overloadpacket.__name__] += 1
        return out


def _places(tree: Any) -> set[int]:
    tensors = [each for each in tree_leaves(tree) if isinstance(each, torch.Tensor)]
    return {each.untyped_storage()._cdata for each in tensors}
