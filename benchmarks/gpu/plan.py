"""The parts in the order of worth, and how long each may take."""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_TOTAL_S = 480
"""Time on a GPU comes in pieces; a piece must hold the start of the machine as well."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one process measures."""

    module: str
    """Where its `MEASUREMENTS` are."""
    about: str
    expected_s: int
    """On an H100, the start of the process and the import of torch included."""
    max_s: int
    """After this long it is ended; the rows that it has are kept."""

    @property
    def name(self) -> str:
        """The module's own name."""
        return self.module.rpartition(".")[2]


def _part(name: str, about: str, expected_s: int, max_s: int) -> Part:
    return Part(f"benchmarks.gpu.parts.{name}", about, expected_s, max_s)


PARTS = (
    _part("environment", "card, versions, bandwidths, the host's time per operator", 8, 20),
    _part("device_tests", "pytest -m gpu tests/engine tests/codec", 50, 85),
    _part("fused", "fused kernels against their twins, NaN, 1,000 replays", 30, 60),
    _part("steps", "the decode step in every way, by batch and context", 40, 65),
    _part("choice", "what the choice of kernels at start takes, and chooses", 15, 30),
    _part("kernels", "the kernels that take most of a step", 8, 20),
    _part("tiles", "products and attention by tile and split, gaps", 20, 40),
    _part("serving", "engine and codec together, first audio, underruns", 28, 45),
    _part("parity", "graph against eager steps, ours against transformers", 24, 35),
    _part("prompts", "prefill, first at a new length and again", 6, 10),
    _part("captures", "the time and the memory of each step graph", 6, 10),
    _part("codec", "the codec by precision, rows and frames, its ends", 11, 22),
    _part("encoder", "references of 10 and 60 s", 5, 8),
    _part("loading", "a checkpoint of the real size from the page cache", 12, 18),
    _part("memory", "the plan against what is left", 7, 12),
)


def chosen(names: Sequence[str], parts: Sequence[Part]) -> list[Part]:
    """Return the parts of these names, in the plan's order; all of them if no name is given.

    Raises:
        ValueError: there is no such part.
    """
    unknown = set(names) - {part.name for part in parts}
    if unknown:
        known = ", ".join(part.name for part in parts)
        raise ValueError(f"no such part: {', '.join(sorted(unknown))}; there are {known}")
    return [part for part in parts if not names or part.name in names]


def table(parts: Sequence[Part]) -> str:
    """Return the plan as text, with its sums."""
    lines = [f"{'part':<14}{'expected s':>11}{'at most s':>11}  what"]
    lines += [f"{p.name:<14}{p.expected_s:>11}{p.max_s:>11}  {p.about}" for p in parts]
    expected, most = sum(p.expected_s for p in parts), sum(p.max_s for p in parts)
    return "\n".join([*lines, f"{'all':<14}{expected:>11}{most:>11}"])
