"""Measuring: cases alternate in one process; the fastest runs and all pairs are compared.

Noise only adds time, so the ratio of the fastest runs is the one to quote. The pairwise median and
its range show how far to trust it.
"""

import platform
import statistics
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

Runs = dict[str, list[float]]
_CAN_SYNC = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim"}


def interleave(
    cases: Mapping[str, Callable[[], float]], repeats: int, *, warm_up: bool = True
) -> Runs:
    """Run all cases in turn, `repeats` times; a warm-up round before is not counted."""
    if warm_up:
        for case in cases.values():
            case()
    runs: Runs = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            runs[name].append(case())
    return runs


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def mean_step(readings: list[float]) -> float:
    """Return the mean difference of consecutive readings."""
    return (readings[-1] - readings[0]) / (len(readings) - 1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two cases that ran in turn; a ratio above 1 means that the second is faster."""

    base: float
    ours: float
    ratio_fastest: float
    ratio_median: float
    ratio_range: tuple[float, float]

    @classmethod
    def of(cls, base: list[float], ours: list[float]) -> "Comparison":
        """Compare the runs of two cases; runs with equal index form a pair."""
        pairs = [b / o for b, o in zip(base, ours, strict=True)]
        return cls(
            base=min(base),
            ours=min(ours),
            ratio_fastest=min(base) / min(ours),
            ratio_median=statistics.median(pairs),
            ratio_range=(min(pairs), max(pairs)),
        )


class OperatorCounter(TorchDispatchMode):
    """Counts operators that do work, and those of them that can make the host wait."""

    def __init__(self, whole: Collection[str] = ()) -> None:
        """Start at zero; operators named in `whole` count as one, whatever they consist of."""
        super().__init__()
        self.by_name: Counter[str] = Counter()
        self.num_can_sync = 0
        self._whole = whole

    @property
    def num_operators(self) -> int:
        """Operators that do work."""
        return self.by_name.total()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = _name(func)
        if name not in self._whole:
            # Inference mode dispatches composite operators whole; decompose them, as autograd does.
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        if not is_view(func):
            self.by_name[name] += 1
            self.num_can_sync += _can_sync(func, args)
        return func(*args, **kwargs)


def _name(func: Any) -> str:
    name: str = func._schema.name
    return name.removeprefix("aten::")


def is_view(func: Any) -> bool:
    """Whether an operator does no work."""
    if _name(func) == "_unsafe_view":  # one that autograd is not told of
        return True
    aliases = [value.alias_info for value in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def _can_sync(func: Any, args: tuple[Any, ...]) -> bool:
    name = _name(func)
    if name in {"index", "index_put", "index_put_", "_index_put_impl_"}:
        return any(index is not None and index.dtype == torch.bool for index in args[1])
    return name in _CAN_SYNC


def copy_bandwidth(num_bytes: int = 1 << 28, repeats: int = 5) -> float:
    """Return the speed of a large copy: bytes read plus bytes written, per second."""
    source = torch.ones(num_bytes, dtype=torch.uint8)
    target = torch.zeros_like(source)
    fastest = min(timed(lambda: target.copy_(source)) for _ in range(repeats))
    return 2 * num_bytes / fastest


def environment() -> dict[str, Any]:
    """Describe the software and the machine."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "higgs_worker": version("higgs-worker"),
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }
