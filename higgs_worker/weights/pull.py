"""Pulls the missing files of a repository from the hub into its cache, and verifies them.

Several connections fetch every file in blocks. A file gets its name only after all of its bytes,
read back while they arrive, have the checksum that the hub lists; otherwise it is fetched again.
Blocks that an earlier attempt left are checked and kept. Runs under the lease.
"""

import logging
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from higgs_worker.errors import (
    VolumeUnusable,
    WeightsNotFound,
    WeightsUnavailable,
    WorkerError,
)
from higgs_worker.threads import in_threads
from higgs_worker.weights.blob import FULL, Blob, Checksum
from higgs_worker.weights.cache import CachedRepo
from higgs_worker.weights.hub import Hub, HubFile, Listing
from higgs_worker.weights.progress import OnTransferProgress, Reporter
from higgs_worker.weights.retry import Limits, Retryable, RetryBudget

_MAX_ROUNDS = 3  # for a file whose checksum is wrong; three times is no accident
_SPARE_BYTES = 64 << 20  # left free on the volume, for journals, voices and the like
_POLL_S = 0.1  # between two looks whether the time is over, while no connection gives anything

log = logging.getLogger(__name__)
T = TypeVar("T")

ChooseFiles = Callable[[Collection[str]], Sequence[str]]
"""Returns the names of the files to pull, given those that the repository has."""


@dataclass(slots=True)
class _FileDownload:
    """One file, and the blocks of it that are on the volume."""

    file: HubFile
    blob: Blob
    blocks: set[int] = field(default_factory=set)
    block_added: threading.Event = field(default_factory=threading.Event)
    is_right: bool = False

    @property
    def num_blocks(self) -> int:
        return self.blob.num_blocks(self.file.size)

    @property
    def num_bytes(self) -> int:
        missing_in_last = self.num_blocks * self.blob.block_bytes - self.file.size
        has_last = self.num_blocks - 1 in self.blocks
        return len(self.blocks) * self.blob.block_bytes - has_last * missing_in_last

    def missing_runs(self, max_blocks: int) -> list[range]:
        """Return the missing blocks, as ranges of at most `max_blocks`."""
        found: list[range] = []
        for index in range(self.num_blocks):
            if index in self.blocks:
                continue
            if found and found[-1].stop == index and len(found[-1]) < max_blocks:
                found[-1] = range(found[-1].start, index + 1)
            else:
                found.append(range(index, index + 1))
        return found

    def discard(self) -> None:
        self.blob.discard()
        self.blocks.clear()


class Pull:
    """Pulls one repository."""

    def __init__(
        self,
        hub: Hub,
        cached: CachedRepo,
        *,
        limits: Limits,
        deadline: float,
        check_lease: Callable[[], None],
        on_progress: OnTransferProgress | None = None,
    ) -> None:
        """
        Args:
            hub: where to pull from.
            cached: where to pull to.
            limits: how much at once and for how long.
            deadline: for everything, on the monotonic clock.
            check_lease: raises LeaseLost when another worker has taken over; called before every
                change.
            on_progress: called with the progress, in one thread at a time.
        """
        self._hub, self._cached, self._limits = hub, cached, limits
        self._check_lease = check_lease
        self._on_progress = on_progress
        self._budget = RetryBudget(cached.repo, limits, deadline)
        self._listings: dict[str, Listing] = {}
        self._downloads: list[_FileDownload] = []
        self._num_loose_bytes = 0  # received, but not yet a block
        self._counting = threading.Lock()
        self._reporter: Reporter | None = None

    def run(self, revision: str, choose: ChooseFiles) -> str:
        """Pull files of a revision into the cache and return the commit.

        The commit is recorded before anything is pulled, so that after a kill the next worker
        continues with the same one.

        Args:
            revision: a commit, branch or tag.
            choose: which files to pull.

        Raises:
            WeightsNotFound, WeightsRefused: the hub does not have the files or does not give them.
            WeightsUnavailable: the hub is too slow or unreachable, or sends wrong bytes repeatedly.
            VolumeUnusable: there is not enough space.
            OSError: the volume refuses; where it is full, partial files have been removed.
            LeaseLost: another worker has taken over, whatever else went wrong here.
        """
        try:
            return self._run(revision, choose)
        except (WorkerError, OSError):
            # A worker that was frozen may find its time used up, or the volume full of what another
            # worker wrote meanwhile. That is no reason to give up.
            self._check_lease()
            raise

    def _run(self, revision: str, choose: ChooseFiles) -> str:
        listing = self._listings.get(revision)
        if listing is None:
            listing = self._retry(lambda: self._hub.listing(self._cached.repo, revision))
            self._listings[listing.commit] = listing  # what a commit holds does not change
        names = choose(listing.files)
        missing = [name for name in names if name not in listing.files]
        if missing:
            raise WeightsNotFound(
                f"{self._cached.repo} has no {' and no '.join(missing)} at {listing.commit}; it is "
                "not the repository or not the revision that is needed"
            )
        files = [listing.files[name] for name in names]
        self._check_lease()
        self._cached.record(revision, listing.commit)
        self._cached.remove_stale({file.etag for file in listing.files.values()})
        for file in {each.etag: each for each in files}.values():  # equal files are one blob
            self._prepare(file)
        self._check_space()
        try:
            self._fetch_until_right(listing)
        except OSError as error:
            if error.errno in FULL:  # partial files must not keep it full
                self._check_lease()  # they may be another worker's by now
                for download in self._downloads:
                    download.discard()
            raise
        self._check_lease()
        for file in files:
            self._cached.link(listing.commit, file.name, file.etag)
        return listing.commit

    def _prepare(self, file: HubFile) -> None:
        """Find the blocks of a file that are on the volume."""
        blob = self._cached.blob(file.etag)
        blob.path.parent.mkdir(parents=True, exist_ok=True)
        if blob.path.exists():
            if blob.is_right():
                return
            log.warning("%s is damaged on the volume and is repaired", file.name)
            self._check_lease()  # hashing took long; another worker may have repaired it
            blob.reopen()
        download = _FileDownload(file, blob, blob.held(file.size))
        blob.partial.touch()  # an empty file has no block that would create it
        self._downloads.append(download)

    def _check_space(self) -> None:
        needed = sum(each.file.size - each.num_bytes for each in self._downloads)
        free = shutil.disk_usage(self._cached.directory).free
        if needed and needed + _SPARE_BYTES > free:
            raise VolumeUnusable(
                f"{self._cached.repo} needs {(needed + _SPARE_BYTES) / 1e9:.2f} GB more and "
                f"{self._cached.cache} has {free / 1e9:.2f} GB free; enlarge the volume or remove "
                "what is not needed"
            )

    def _fetch_until_right(self, listing: Listing) -> None:
        for _ in range(_MAX_ROUNDS):
            self._fetch_all(listing)
            self._check_lease()
            for download in [each for each in self._downloads if each.is_right]:
                download.blob.close()
                self._downloads.remove(download)
            if not self._downloads:
                return
            for download in self._downloads:
                log.warning("%s arrived with wrong bytes", download.file.name)
                download.discard()
        raise WeightsUnavailable(
            f"what the hub sent as {self._downloads[0].file.name} of {listing.repo} does not have "
            f"the checksum that it lists, {_MAX_ROUNDS} times in a row; try again later"
        )

    def _fetch_all(self, listing: Listing) -> None:
        """Fetch all missing blocks, and hash every file meanwhile."""
        self._num_loose_bytes = 0
        self._reporter = Reporter(
            listing.repo,
            "pulling",
            on_progress=self._on_progress,
            total_bytes=sum(each.file.size for each in self._downloads),
            num_bytes=sum(each.num_bytes for each in self._downloads),
        )
        self._budget.restart_stall_time()  # hashing what was there takes long
        runs = [
            (download, run) for download in self._downloads for run in self._plan(listing, download)
        ]
        left = iter(runs)  # shared: each thread takes what is next
        jobs = [partial(self._hash, each) for each in self._downloads]
        jobs += [partial(self._fetch_runs, listing, left)] * self._limits.num_connections
        # No thread outlives the loop: no write may follow the clean-up after a failure.
        for _ in in_threads(lambda job: job(), jobs, len(jobs), interrupt=self._stop):
            pass

    def _stop(self) -> None:
        self._budget.stop()
        self._hub.stop()

    def _plan(self, listing: Listing, download: _FileDownload) -> list[range]:
        """Divide what is missing of a file into requests; one where the server ignores ranges."""
        runs = download.missing_runs(self._limits.request_blocks)
        if len(runs) < 2:
            return runs
        if self._retry(lambda: self._hub.honours_ranges(listing, download.file)):
            return runs
        return [range(runs[0].start, runs[-1].stop)]

    def _fetch_runs(self, listing: Listing, runs: Iterator[tuple[_FileDownload, range]]) -> None:
        """Fetch one range of blocks after the other: one connection."""
        buffer = memoryview(bytearray(self._cached.block_bytes))
        for download, run in runs:
            self._fetch_run(listing, download, run, buffer)

    def _fetch_run(
        self, listing: Listing, download: _FileDownload, run: range, buffer: memoryview
    ) -> None:
        """Fetch a range of blocks; the request after a failure continues where it broke off."""
        block_bytes = len(buffer)
        position = run.start * block_bytes
        end = min(run.stop * block_bytes, download.file.size)
        num_failures = 0
        while position < end:
            try:
                self._budget.wait_as_told()
                pieces = self._hub.read(listing, download.file, position, end)
                with closing(pieces):
                    for piece in pieces:
                        self._budget.check()
                        self._count(len(piece))
                        num_failures = 0
                        while piece:
                            index, held = divmod(position, block_bytes)
                            part, piece = piece[: block_bytes - held], piece[block_bytes - held :]
                            position += len(part)
                            buffer[held : held + len(part)] = part
                            if held + len(part) == block_bytes or position == end:
                                self._write(download, index, buffer[: held + len(part)])
            except Retryable as failure:
                num_failures += 1
                self._budget.wait_after(failure, num_failures)

    def _count(self, num_bytes: int) -> None:
        self._budget.add_progress(num_bytes)
        with self._counting:
            self._num_loose_bytes += num_bytes
            if self._reporter:
                held = sum(each.num_bytes for each in self._downloads)
                self._reporter.update(held + self._num_loose_bytes)

    def _write(self, download: _FileDownload, index: int, data: memoryview) -> None:
        self._check_lease()
        download.blob.write_block(index, data)
        with self._counting:
            self._num_loose_bytes -= len(data)
            download.blocks.add(index)
        download.block_added.set()

    def _hash(self, download: _FileDownload) -> None:
        """Compute the checksum of a growing file, reading back what was written."""
        checksum = Checksum(download.file.etag, download.file.size)
        for index in range(download.num_blocks):
            self._budget.check()
            while index not in download.blocks:
                download.block_added.wait(_POLL_S)
                download.block_added.clear()
                self._budget.check()
            start = index * download.blob.block_bytes
            end = start + download.blob.block_bytes
            self._budget.add_progress(checksum.update_from(download.blob.partial, start, end))
        download.is_right = checksum.is_right

    def _retry(self, request: Callable[[], T]) -> T:
        num_failures = 0
        while True:
            try:
                self._budget.wait_as_told()
                return request()
            except Retryable as failure:
                num_failures += 1
                self._budget.wait_after(failure, num_failures)
