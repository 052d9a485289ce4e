"""Where checkpoints are: in the package, in a directory, on the volume, or still at the hub.

The first worker that needs a repository of the hub pulls it into `<volume>/bosonai` and records
which commit its revision is. All others use that record and, once the files are there, no network.
Every byte of a file is checked before the file is first used, and at every start if so chosen:
hashing in several threads is faster than the volume, and leaves in memory what the loaders read
next. A file that was found right and has not changed since is used as it is. A damaged file is
pulled again.
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
from higgs_worker.weights.blob import FULL, Blob
from higgs_worker.weights.cache import REPO, CachedRepo
from higgs_worker.weights.lease import Lease, LeaseLost
from higgs_worker.weights.progress import OnTransferProgress, Reporter
from higgs_worker.weights.retry import Limits
from higgs_worker.weights.volume import check_abilities

DEMO = "demo"
DEMO_DIRECTORY = Path(__file__).parents[1] / "demo"
"""Holds a checkpoint of each kind."""

DIRECTORY = "bosonai"
"""The folder of the volume that repositories are kept in, whoever published them."""

FILES: Mapping[str, tuple[str, ...]] = {
    "model": ("config.json", "tokenizer.json", "model.safetensors"),
    "codec": ("config.json", "model.safetensors"),
}
"""By kind of checkpoint: the files that the loaders read; no other is pulled."""

RUNPOD_CACHE = Path("/runpod-volume/huggingface-cache/hub")
"""Where RunPod puts the models that an endpoint names, before a worker starts."""

_MAIN = "main"
_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w./-]{0,199}", re.ASCII)

log = logging.getLogger(__name__)


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


def locate_checkpoint(
    name: str,
    kind: str,
    source: CheckpointSource,
    *,
    revision: str | None = None,
    on_progress: OnTransferProgress | None = None,
) -> LocatedCheckpoint:
    """Find a checkpoint, and pull it where it is missing; blocks, perhaps for minutes.

    Args:
        name: a directory, `demo`, or a repository of the hub.
        kind: "model" or "codec".
        source: where to look and where to pull from.
        revision: a commit, branch or tag of the repository; None stands for the volume's record,
            and for `main` where there is none yet.
        on_progress: called with the progress, in this thread.

    Raises:
        WeightsNotFound: there is no such thing, or it is not here and the hub may not be asked.
        WeightsRefused: the hub does not give it to this token.
        WeightsUnavailable: it cannot be pulled now.
        VolumeUnusable: the volume is full or cannot be written.
        InvalidSettings: the revision is none.
    """
    local = _find_local(name, kind)
    if local is not None:
        return LocatedCheckpoint(local, None)
    pin = revision or _MAIN
    if not _REVISION.fullmatch(pin):
        raise InvalidSettings(
            f"HIGGS_{kind.upper()}_REVISION is {pin[:40]!r}; it must be a commit, branch or tag"
        )
    search = _RepoSearch(name, FILES[kind], pin, source, on_progress)
    with _volume_errors(source.volume):
        for each in search.find_cached():
            if search.verify(each):
                return each.located
        search.warn_of_unused_caches()
        if source.offline:
            raise WeightsNotFound(
                f"{name} is not complete in {search.own.directory}, and HF_HUB_OFFLINE keeps it "
                "from being pulled; unset it, or run `higgs-worker fetch` where there is a network"
            )
        return search.pull_under_lease()


def find_without_verifying(
    name: str, kind: str, source: CheckpointSource, *, revision: str | None = None
) -> LocatedCheckpoint | None:
    """Return where a checkpoint is; reads none of its bytes and uses no network.

    Raises:
        WeightsNotFound: the name is neither a directory here nor a repository's.
    """
    local = _find_local(name, kind)
    if local is not None:
        return LocatedCheckpoint(local, None)
    search = _RepoSearch(name, FILES[kind], revision or _MAIN, source, None)
    return next((each.located for each in search.find_cached()), None)


def is_cached(
    name: str, kind: str, source: CheckpointSource, *, revision: str | None = None
) -> bool:
    """Return whether all files of a checkpoint are there; see `find_without_verifying`."""
    return find_without_verifying(name, kind, source, revision=revision) is not None


def _find_local(name: str, kind: str) -> Path | None:
    """Return the directory that a name stands for; None for the name of a repository."""
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


@dataclass(frozen=True, slots=True)
class _CachedCheckpoint:
    """A cache that has all files of a commit; their bytes may be wrong."""

    cached: CachedRepo
    commit: str
    blobs: tuple[Blob, ...]

    @property
    def located(self) -> LocatedCheckpoint:
        return LocatedCheckpoint(self.cached.snapshot(self.commit), self.commit)


class _RepoSearch:
    """The steps that find one repository: look into the caches, verify, pull."""

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
        block_bytes = source.limits.block_bytes
        self.own = CachedRepo(source.volume / DIRECTORY, repo, block_bytes)
        journals = self.own.directory / "blobs"  # other caches are only read
        self._others = [CachedRepo(each, repo, block_bytes, journals) for each in source.caches]

    def find_cached(self) -> list[_CachedCheckpoint]:
        """Return the caches that have all files, the volume's own first; reads none of them."""
        found = (self._find_in(each) for each in (self.own, *self._others))
        return [each for each in found if each is not None]

    def verify(self, found: _CachedCheckpoint) -> bool:
        """Return whether all bytes are right; logs when they are not."""
        always = self._source.verify_always
        try:
            unchecked = [each for each in found.blobs if always or not each.is_remembered()]
            reporter = Reporter(
                found.cached.repo,
                "checking",
                on_progress=self._on_progress,
                total_bytes=sum(each.path.stat().st_size for each in unchecked),
            )
            is_right = all(each.is_right(reporter.add) for each in unchecked)
        except OSError:  # cannot be read, or is being repaired right now
            is_right = False
        if not is_right:
            log.warning("damaged files", extra={"directory": str(found.located.directory)})
        return is_right

    def pull_under_lease(self) -> LocatedCheckpoint:
        """Pull into the volume, or wait until another worker has."""
        check_abilities(self.own.cache)
        limits = self._source.limits
        deadline = time.monotonic() + limits.deadline_s
        found = self._find_in(self.own)
        while True:
            # Files that are complete and yet damaged will be repaired by the holder of the lease;
            # that they are complete does not end the wait for it.
            is_done = self._is_complete if found is None else lambda: False
            lease = Lease(self.own.leases, beat_s=limits.beat_s, stale_s=limits.stale_s)
            try:
                if lease.acquire(deadline=deadline, unless=is_done):
                    return self._pull(lease, deadline)
            except LeaseLost:
                log.warning("another worker took over and goes on pulling")
            except TimeoutError as error:
                raise WeightsUnavailable(
                    f"other workers have been pulling {self.own.repo} for "
                    f"{limits.deadline_s:.0f} s; see their logs, and try again"
                ) from error
            finally:
                lease.release()
            found = self._find_in(self.own)
            if found is not None and self.verify(found):
                return found.located

    def warn_of_unused_caches(self) -> None:
        """Log which other caches have files of this repository that cannot be used."""
        for cached in self._others:
            snapshot = cached.snapshot(self._commit_in(cached) or "")
            if (snapshot / self._names[0]).is_file():
                log.warning(
                    "a cache is not used, because its files are incomplete, damaged or not stored "
                    "under their checksums",
                    extra={"directory": str(snapshot)},
                )

    def _pull(self, lease: Lease, deadline: float) -> LocatedCheckpoint:
        # Importing them takes longer than everything else when the files are in place.
        from higgs_worker.weights.hub import Hub
        from higgs_worker.weights.pull import Pull

        source, started_at = self._source, time.monotonic()

        async def run() -> str:
            async with Hub(source.endpoint, source.token, source.limits) as hub:
                pull = Pull(
                    hub,
                    self.own,
                    limits=source.limits,
                    deadline=deadline,
                    check_lease=lease.check,
                    on_progress=self._on_progress,
                )
                return await pull.run(self.own.commit_of(self._pin) or self._pin, self._names)

        commit = asyncio.run(run())
        for blob in (self.own.blobs_of(commit, self._names) or {}).values():
            blob.remember()
        pull_s = round(time.monotonic() - started_at, 1)
        log.info("pulled %s", self.own.repo, extra={"commit": commit, "pull_s": pull_s})
        return LocatedCheckpoint(self.own.snapshot(commit), commit)

    def _find_in(self, cached: CachedRepo) -> _CachedCheckpoint | None:
        commit = self._commit_in(cached)
        if commit is None:
            return None
        blobs = cached.blobs_of(commit, self._names)
        return _CachedCheckpoint(cached, commit, tuple(blobs.values())) if blobs else None

    def _commit_in(self, cached: CachedRepo) -> str | None:
        """Return the commit to look for in a cache; the volume's record comes first."""
        return self.own.commit_of(self._pin) or cached.commit_of(self._pin)

    def _is_complete(self) -> bool:
        return self._find_in(self.own) is not None


@contextmanager
def _volume_errors(volume: Path) -> Iterator[None]:
    """Turn the volume's errors into `VolumeUnusable`."""
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
