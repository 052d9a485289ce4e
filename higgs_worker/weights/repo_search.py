"""The steps that find one repository: look into the caches, verify, pull, ask again.

A record pins a branch to the commit that the first worker found. Such a commit may be of no use,
because its author had made a mistake. Then the hub is asked once which commit the branch is now;
if it is a newer one, that is recorded, under the lease, so that other workers just use it.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from higgs_worker.errors import (
    InvalidCheckpoint,
    WeightsNotFound,
    WeightsRefused,
    WeightsUnavailable,
    WorkerError,
)
from higgs_worker.weights.blob import Blob
from higgs_worker.weights.cache import COMMIT, CachedRepo
from higgs_worker.weights.checkpoint_files import all_files, first_files
from higgs_worker.weights.lease import Lease, LeaseLost
from higgs_worker.weights.progress import OnTransferProgress, Reporter
from higgs_worker.weights.source import (
    DIRECTORY,
    CheckpointSource,
    LocatedCheckpoint,
    RefusedCheckpoint,
)
from higgs_worker.weights.volume import check_abilities

if TYPE_CHECKING:
    from higgs_worker.weights.pull import Pull

Check = Callable[[Path], object]
"""Raises InvalidCheckpoint for a directory whose small files are those of another model."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CachedCheckpoint:
    """A cache that has all files of a commit; their bytes may be wrong."""

    cached: CachedRepo
    commit: str
    blobs: tuple[Blob, ...]

    @property
    def located(self) -> LocatedCheckpoint:
        """The directory with its files."""
        return LocatedCheckpoint(self.cached.snapshot(self.commit), self.commit)


class RepoSearch:
    """The steps that find one repository: look into the caches, verify, pull."""

    def __init__(
        self,
        repo: str,
        kind: str,
        pin: str,
        source: CheckpointSource,
        check: Check = lambda directory: None,
        on_progress: OnTransferProgress | None = None,
    ) -> None:
        self._kind, self._pin, self._source, self._check = kind, pin, source, check
        self._on_progress = on_progress
        self._refused: RefusedCheckpoint | None = None
        block_bytes = source.limits.block_bytes
        self.own = CachedRepo(source.volume / DIRECTORY, repo, block_bytes)
        journals = self.own.directory / "blobs"  # other caches are only read
        self._others = [CachedRepo(each, repo, block_bytes, journals) for each in source.caches]

    def locate(self) -> LocatedCheckpoint:
        """Find the repository in a cache, or pull it."""
        for each in self.find_cached():
            if self._verify(each, fully=self._source.verify_always):
                return each.located
        self._warn_of_unused_caches()
        if self._source.offline:
            raise WeightsNotFound(
                f"{self.own.repo} is not complete in {self.own.directory}, and HF_HUB_OFFLINE "
                "keeps it from being pulled; unset it, or run `higgs-worker fetch` where there is "
                "a network"
            )
        try:
            return self._pull_under_lease()
        except InvalidCheckpoint as error:
            raise self._explained(error, "the hub has no newer one") from error

    def locate_another(self, refused: RefusedCheckpoint) -> LocatedCheckpoint:
        """Repair the bytes of a checkpoint that was refused, or look for another commit."""
        found = [each for each in self.find_cached() if each.located == refused.located]
        if not all(self._verify(each, fully=True) for each in found):
            return self.locate()
        if COMMIT.fullmatch(self._pin):
            raise self._explained(refused.error, "")
        if self._source.offline:
            raise self._explained(refused.error, "HF_HUB_OFFLINE keeps the hub from being asked")
        self._refused = refused
        try:
            return self.locate()
        except (WeightsNotFound, WeightsRefused, WeightsUnavailable) as error:
            reason = f"asking the hub for a newer one failed: {error.message}"
            raise self._explained(refused.error, reason) from error

    def find_cached(self) -> list[CachedCheckpoint]:
        """Return the caches that have all files, the volume's own first; reads none of them."""
        found = (self._find_in(each) for each in (self.own, *self._others))
        return [each for each in found if each is not None]

    def _verify(self, found: CachedCheckpoint, *, fully: bool) -> bool:
        """Return whether all bytes are right; logs when they are not.

        Args:
            found: where they are.
            fully: whether to read also those that were found right before.
        """
        try:
            unchecked = [each for each in found.blobs if fully or not each.is_remembered()]
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

    def _pull_under_lease(self) -> LocatedCheckpoint:
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
            if found is not None and self._verify(found, fully=self._source.verify_always):
                return found.located

    def _warn_of_unused_caches(self) -> None:
        """Log which other caches have files of this repository that cannot be used."""
        for cached in self._others:
            snapshot = cached.snapshot(self._commit_in(cached) or "")
            if (snapshot / "config.json").is_file():
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
        recorded = self._recorded()
        with Hub(source.endpoint, source.token, source.limits) as hub:
            pull = Pull(
                hub,
                self.own,
                limits=source.limits,
                deadline=deadline,
                check_lease=lease.check,
                on_progress=self._on_progress,
            )
            try:
                commit = self._pull_files(pull, recorded or self._pin)
            except (InvalidCheckpoint, WeightsNotFound) as error:
                if recorded is None or recorded == self._pin:
                    raise
                log.warning("asking for %s again: %s", self._pin, error)
                commit = self._pull_files(pull, self._pin)
        snapshot = self.own.snapshot(commit)
        for blob in (self.own.blobs_of(commit, all_files(self._kind, snapshot)) or {}).values():
            blob.remember()
        pull_s = round(time.monotonic() - started_at, 1)
        log.info("pulled %s", self.own.repo, extra={"commit": commit, "pull_s": pull_s})
        return LocatedCheckpoint(snapshot, commit)

    def _pull_files(self, pull: "Pull", revision: str) -> str:
        """Pull the small files, and the large ones if those are this model's; gives the commit."""
        commit = pull.run(revision, lambda listed: first_files(self._kind, listed))
        if self._refused is not None and self._is_refused(commit):
            raise self._refused.error
        snapshot = self.own.snapshot(commit)
        self._check(snapshot)
        names = all_files(self._kind, snapshot)
        return pull.run(commit, lambda _: names)

    def _find_in(self, cached: CachedRepo) -> CachedCheckpoint | None:
        commit = self._commit_in(cached)
        if commit is None:
            return None
        try:
            names = all_files(self._kind, cached.snapshot(commit))
        except WorkerError:  # the index is damaged; pulling repairs it
            return None
        blobs = cached.blobs_of(commit, names)
        return CachedCheckpoint(cached, commit, tuple(blobs.values())) if blobs else None

    def _commit_in(self, cached: CachedRepo) -> str | None:
        """Return the commit to look for in a cache; the volume's record comes first."""
        commit = self._recorded() or cached.commit_of(self._pin)
        return None if self._is_refused(commit) else commit

    def _recorded(self) -> str | None:
        """Return the commit that the volume has recorded, unless it was refused."""
        commit = self.own.commit_of(self._pin)
        return None if self._is_refused(commit) else commit

    def _is_refused(self, commit: str | None) -> bool:
        return self._refused is not None and commit == self._refused.located.revision

    def _explained(self, error: InvalidCheckpoint, reason: str) -> InvalidCheckpoint:
        """Return an error with the commit that it is about, the record of it, and a way out."""
        variable = f"HIGGS_{self._kind.upper()}_REVISION"
        if COMMIT.fullmatch(self._pin):
            told = f"commit {self._pin}, which {variable} names; set it to another one"
        else:
            caches = [each for each in (self.own, *self._others) if each.commit_of(self._pin)]
            cached = caches[0] if caches else self.own
            told = (
                f"commit {cached.commit_of(self._pin)}, which {cached.record_of(self._pin)} names "
                f"as {self._pin}; {reason}; set {variable} to a commit that works, or remove that "
                "record to have the hub asked anew"
            )
        return InvalidCheckpoint(
            f"{error.message}. This is {self.own.repo} at {told}", details=error.details
        )

    def _is_complete(self) -> bool:
        return self._find_in(self.own) is not None
