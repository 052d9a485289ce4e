"""Where checkpoints are: in the package, in a directory, on the volume, or still at the hub.

A repository of the hub is pulled into `<volume>/bosonai` by the first worker that needs it, which
also records what commit its revision is; all others use that record and, once the files are there,
no network. Every file is checked before use, at every start: hashing in several threads is faster
than the volume, and leaves in memory what the loaders read next. What is damaged is pulled again.
Knows neither what is in the files nor the environment.
"""

import asyncio
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from higgs_worker.errors import InvalidSettings, VolumeUnusable, WeightsNotFound, WeightsUnavailable
from higgs_worker.weights.blob import FULL
from higgs_worker.weights.cache import REPO, CachedRepo
from higgs_worker.weights.lease import Lease, LeaseLost
from higgs_worker.weights.progress import Limits, OnTransferProgress, Reporter

DEMO = "demo"
DEMO_DIRECTORY = Path(__file__).parents[1] / "demo"
"""Holds a checkpoint of each kind."""

DIRECTORY = "bosonai"
"""Where repositories are kept on the volume, whoever published them."""

FILES: Mapping[str, tuple[str, ...]] = {
    "model": ("config.json", "tokenizer.json", "model.safetensors"),
    "codec": ("config.json", "model.safetensors"),
}
"""What the loaders read of each kind of checkpoint; nothing else is pulled."""

RUNPOD_CACHE = Path("/runpod-volume/huggingface-cache/hub")
"""Where RunPod puts the models that an endpoint names, before a worker starts."""

_MAIN = "main"
_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w./-]{0,199}", re.ASCII)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LocatedCheckpoint:
    """A checkpoint that is there."""

    directory: Path
    revision: str | None
    """The commit; None for what did not come from a hub."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSource:
    """Where checkpoints may be had from."""

    volume: Path
    endpoint: str = "https://huggingface.co"
    token: str | None = field(default=None, repr=False)
    offline: bool = False
    caches: tuple[Path, ...] = (RUNPOD_CACHE,)
    """Caches of Hugging Face's tools; what they have is used, nothing is written there."""
    limits: Limits = field(default_factory=Limits)


def locate(
    name: str,
    kind: str,
    source: CheckpointSource,
    *,
    revision: str | None = None,
    on_progress: OnTransferProgress | None = None,
) -> LocatedCheckpoint:
    """Find a checkpoint, pulling it where it is not there; blocks, perhaps for minutes.

    Args:
        name: a directory, `demo`, or a repository of the hub.
        kind: "model" or "codec".
        source: where to look and where to pull from.
        revision: a commit, branch or tag of the repository; None takes what the volume's record
            says, and `main` where there is none yet.
        on_progress: is told how far it is, in this thread.

    Raises:
        WeightsNotFound: there is no such thing, or not here and the hub may not be asked.
        WeightsRefused: the hub does not give it to this token.
        WeightsUnavailable: it cannot be pulled now.
        VolumeUnusable: the volume is full or cannot be written.
        InvalidSettings: the revision is none.
    """
    local = _local(name, kind)
    if local is not None:
        return LocatedCheckpoint(local, None)
    pin = revision or _MAIN
    if not _REVISION.fullmatch(pin):
        raise InvalidSettings(
            f"HIGGS_{kind.upper()}_REVISION is {pin[:40]!r}; it must be a commit, branch or tag"
        )
    search = _RepoSearch(name, FILES[kind], pin, source, on_progress)
    with _volume(source.volume):
        found = search.checked()
        if found is not None:
            return found
        if source.offline:
            raise WeightsNotFound(
                f"{name} is not complete in {search.mine.directory}, and HF_HUB_OFFLINE keeps it "
                "from being pulled; unset it, or run `higgs-worker fetch` where there is a network"
            )
        return search.pulled()


def find_without_verifying(
    name: str, kind: str, source: CheckpointSource, *, revision: str | None = None
) -> LocatedCheckpoint | None:
    """Return where a checkpoint is, its files unchecked; fast, and without any network.

    Raises:
        WeightsNotFound: there can be no such thing.
    """
    local = _local(name, kind)
    if local is not None:
        return LocatedCheckpoint(local, None)
    search = _RepoSearch(name, FILES[kind], revision or _MAIN, source, None)
    return next(
        (LocatedCheckpoint(repo.snapshot(commit), commit) for repo, commit in search.places()), None
    )


def is_cached(
    name: str, kind: str, source: CheckpointSource, *, revision: str | None = None
) -> bool:
    """Return whether a checkpoint is there; see `unchecked`."""
    return find_without_verifying(name, kind, source, revision=revision) is not None


def _local(name: str, kind: str) -> Path | None:
    if name == DEMO:
        return DEMO_DIRECTORY / kind
    directory = Path(name).expanduser()
    if directory.is_dir():
        return directory
    if REPO.fullmatch(name):
        return None
    raise WeightsNotFound(
        f"HIGGS_{kind.upper()}={name} is neither a directory here nor the name of a repository "
        "(organisation/name); set it to one of them"
    )


class _RepoSearch:
    """One repository, wherever it may be."""

    def __init__(
        self,
        repo: str,
        names: tuple[str, ...],
        pin: str,
        source: CheckpointSource,
        on_progress: OnTransferProgress | None,
    ) -> None:
        self._names, self._pin, self._source = names, pin, source
        self._on_progress = on_progress
        self._is_suspect = False
        block_bytes = source.limits.block_bytes
        self.mine = CachedRepo(source.volume / DIRECTORY, repo, block_bytes)
        journals = self.mine.directory / "blobs"
        self._others = [CachedRepo(each, repo, block_bytes, journals) for each in source.caches]

    def places(self, *, only_mine: bool = False) -> Iterator[tuple[CachedRepo, str]]:
        """Give where all files are, and of which commit; nothing of them is read."""
        for cached in (self.mine, *(() if only_mine else self._others)):
            commit = self.mine.commit_of(self._pin) or cached.commit_of(self._pin)
            if commit and cached.blobs_of(commit, self._names) is not None:
                yield cached, commit

    def checked(self) -> LocatedCheckpoint | None:
        """Return the first place whose files are right."""
        for cached, commit in self.places():
            if self._is_right(cached, commit):
                return LocatedCheckpoint(cached.snapshot(commit), commit)
            log.warning("damaged files", extra={"directory": str(cached.snapshot(commit))})
        for cached in self._others:
            commit = self.mine.commit_of(self._pin) or cached.commit_of(self._pin) or ""
            if (cached.snapshot(commit) / self._names[0]).is_file():
                log.warning(
                    "a cache is not used, because its files are incomplete, damaged or do not lie "
                    "under their checksums",
                    extra={"directory": str(cached.snapshot(commit))},
                )
        return None

    def pulled(self) -> LocatedCheckpoint:
        """Pull, or wait until another worker has."""
        limits = self._source.limits
        deadline = time.monotonic() + limits.deadline_s
        self._is_suspect = self._is_complete()  # and yet not right, or nothing had to be pulled
        while True:
            lease = Lease(self.mine.leases, beat_s=limits.beat_s, stale_s=limits.stale_s)
            try:
                if lease.acquire(deadline=deadline, unless=self._is_done):
                    began = time.monotonic()
                    commit = asyncio.run(self._pull(lease, deadline))
                    log.info(
                        "pulled %s",
                        self.mine.repo,
                        extra={"commit": commit, "pull_s": round(time.monotonic() - began, 1)},
                    )
                    return LocatedCheckpoint(self.mine.snapshot(commit), commit)
            except LeaseLost:
                log.warning("another worker took over and goes on pulling")
            except TimeoutError as error:
                raise WeightsUnavailable(
                    f"other workers have been pulling {self.mine.repo} for "
                    f"{limits.deadline_s:.0f} s; see their logs, and try again"
                ) from error
            finally:
                lease.release()
            if (found := self.checked()) is not None:
                return found
            self._is_suspect = True

    async def _pull(self, lease: Lease, deadline: float) -> str:
        # Importing them takes longer than all else that a start with the files in place does.
        from higgs_worker.weights.hub import Hub
        from higgs_worker.weights.pull import Pull

        source = self._source
        async with Hub(source.endpoint, source.token, source.limits) as hub:
            pull = Pull(
                hub,
                self.mine,
                limits=source.limits,
                deadline=deadline,
                check_lease=lease.check,
                on_progress=self._on_progress,
            )
            return await pull.run(self.mine.commit_of(self._pin) or self._pin, self._names)

    def _is_done(self) -> bool:
        return self._is_complete() and not self._is_suspect

    def _is_complete(self) -> bool:
        return next(self.places(only_mine=True), None) is not None

    def _is_right(self, cached: CachedRepo, commit: str) -> bool:
        blobs = cached.blobs_of(commit, self._names) or {}
        try:
            total_bytes = sum(each.path.stat().st_size for each in blobs.values())
            reporter = Reporter(
                cached.repo, "checking", on_progress=self._on_progress, total_bytes=total_bytes
            )
            return bool(blobs) and all(each.is_right(reporter.add) for each in blobs.values())
        except OSError:  # cannot be read, or is being pulled anew right now
            return False


@contextmanager
def _volume(volume: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise VolumeUnusable(
                f"{volume} is full; enlarge it or remove what is not needed, what has been pulled "
                "of this file was removed"
            ) from error
        raise VolumeUnusable(
            f"{volume} refuses what has to be kept there ({error.strerror or error}); make it "
            "writable, or set HIGGS_VOLUME to a directory that is"
        ) from error
