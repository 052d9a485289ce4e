"""The two checkpoints that the settings name: where they are, and what replaces one of no use."""

from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from higgs_worker.codec.config import CodecConfig
from higgs_worker.engine.config import ModelConfig
from higgs_worker.errors import InvalidCheckpoint
from higgs_worker.settings import Settings
from higgs_worker.weights.locate import locate_checkpoint
from higgs_worker.weights.progress import OnTransferProgress
from higgs_worker.weights.repo_search import Check
from higgs_worker.weights.source import (
    RUNPOD_CACHE,
    CheckpointSource,
    LocatedCheckpoint,
    RefusedCheckpoint,
)

P = ParamSpec("P")
T = TypeVar("T")

CHECKS: dict[str, Check] = {
    "model": ModelConfig.from_directory,
    "codec": CodecConfig.from_directory,
}
"""By kind of checkpoint: what refuses another model's before its gigabytes are pulled."""


class Refused(Exception):
    """What a checkpoint holds is of no use."""

    def __init__(self, kind: str, error: InvalidCheckpoint) -> None:
        super().__init__(kind)
        self.kind, self.error = kind, error


class Checkpoints:
    """The language model and the codec, each in a directory."""

    def __init__(self, settings: Settings, on_progress: OnTransferProgress | None = None) -> None:
        """Locate both, and pull what is missing; blocks, perhaps for minutes.

        Args:
            settings: which ones.
            on_progress: is told how far checking or pulling weights is, in one thread at a time.

        Raises:
            WeightsNotFound: one is not where the settings say.
            WeightsRefused, WeightsUnavailable, VolumeUnusable: one cannot be pulled.
            InvalidCheckpoint: one belongs to another model.
        """
        self._settings, self._on_progress = settings, on_progress
        self._located = {kind: locate(kind, settings, on_progress) for kind in CHECKS}
        self._replaced: set[str] = set()

    @property
    def model(self) -> LocatedCheckpoint:
        """Where the language model is."""
        return self._located["model"]

    @property
    def codec(self) -> LocatedCheckpoint:
        """Where the codec is."""
        return self._located["codec"]

    def read(
        self,
        kind: str,
        reader: Callable[Concatenate[Path, P], T],
        *args: P.args,
        **options: P.kwargs,
    ) -> T:
        """Call a reader of a directory.

        Raises:
            Refused: what the checkpoint holds is of no use.
        """
        try:
            return reader(self._located[kind].directory, *args, **options)
        except InvalidCheckpoint as error:
            raise Refused(kind, error) from error

    def replace(self, kind: str, error: InvalidCheckpoint) -> None:
        """Repair a checkpoint that was refused, or find another commit of it, once; blocks.

        Raises:
            InvalidCheckpoint: there is nothing else, or that was refused too.
            VolumeUnusable: the volume is full or cannot be written.
        """
        if kind in self._replaced:
            raise error
        self._replaced.add(kind)
        refused = RefusedCheckpoint(self._located[kind], error)
        self._located[kind] = locate(kind, self._settings, self._on_progress, in_place_of=refused)


def locate(
    kind: str,
    settings: Settings,
    on_progress: OnTransferProgress | None = None,
    *,
    in_place_of: RefusedCheckpoint | None = None,
) -> LocatedCheckpoint:
    """Return where a checkpoint is; it is pulled if it is not there. See `locate_checkpoint`."""
    return locate_checkpoint(
        getattr(settings, kind),
        kind,
        checkpoint_source(settings),
        revision=getattr(settings, f"{kind}_revision"),
        check=CHECKS[kind],
        in_place_of=in_place_of,
        on_progress=on_progress,
    )


def checkpoint_source(settings: Settings) -> CheckpointSource:
    """Return where checkpoints are looked for and pulled from."""
    hub_cache = settings.hf_hub_cache or (settings.hf_home and settings.hf_home / "hub")
    caches = [RUNPOD_CACHE, *([hub_cache] if hub_cache else [])]
    return CheckpointSource(
        volume=settings.volume,
        endpoint=settings.hf_endpoint,
        token=settings.hf_token,
        offline=settings.hf_hub_offline,
        caches=tuple(caches),
        verify_always=settings.verify == "always",
    )
