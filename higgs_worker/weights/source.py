"""The places that checkpoints are looked for and pulled from, and what is found there."""

from dataclasses import dataclass, field
from pathlib import Path

from higgs_worker.errors import InvalidCheckpoint
from higgs_worker.weights.retry import Limits

DIRECTORY = "bosonai"
"""The folder of the volume that repositories are kept in, whoever published them."""

RUNPOD_CACHE = Path("/runpod-volume/huggingface-cache/hub")
"""Where RunPod puts the models that an endpoint names, before a worker starts."""


@dataclass(frozen=True, slots=True)
class LocatedCheckpoint:
    """A directory that holds a checkpoint."""

    directory: Path
    revision: str | None
    """The commit; None for a checkpoint that is not a repository of the hub."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSource:
    """The places that checkpoints are looked for and pulled from."""

    volume: Path
    endpoint: str = "https://huggingface.co"
    token: str | None = field(default=None, repr=False)
    offline: bool = False
    caches: tuple[Path, ...] = (RUNPOD_CACHE,)
    """Caches of Hugging Face's tools; only read."""
    limits: Limits = field(default_factory=Limits)
    verify_always: bool = False
    """Whether all bytes are checked even where a mark says that they were."""


@dataclass(frozen=True, slots=True)
class RefusedCheckpoint:
    """A checkpoint that was found, and whose content is of no use."""

    located: LocatedCheckpoint
    error: InvalidCheckpoint
