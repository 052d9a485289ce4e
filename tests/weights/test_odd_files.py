"""A cache on the volume in which anything may lie: never waited for, never followed outside."""

import os
import time
from pathlib import Path

import pytest

from higgs_worker.weights.blob import Blob
from higgs_worker.weights.cache import CachedRepo
from higgs_worker.weights.lease import Lease
from tests.fakes.odd_files import ODD_FILES, in_time, put

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DATA = b"weights"
ETAG = "c0d8bbbb63c2ec1b1d2cd1e4da1d5ba1a5fb4c7ff3a1ea9b2f39f1bba7d0cb7d"


@pytest.fixture
def cached(tmp_path: Path) -> CachedRepo:
    """Return a cache with one file of one commit."""
    cached = CachedRepo(tmp_path / "cache", "org/name", block_bytes=4)
    blob = cached.blob(ETAG)
    blob.path.parent.mkdir(parents=True)
    blob.path.write_bytes(DATA)
    cached.link(COMMIT, "x", ETAG)
    cached.record("main", COMMIT)
    return cached


def test_a_link_elsewhere_is_not_the_file(cached: CachedRepo, tmp_path: Path) -> None:
    """The bytes that are verified are those that are loaded, whatever the link is called."""
    assert cached.blobs_of(COMMIT, ["x"]) is not None
    path = cached.snapshot(COMMIT) / "x"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ETAG).write_bytes(b"others")
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere" / ETAG)
    assert cached.blobs_of(COMMIT, ["x"]) is None


@pytest.mark.parametrize("kind", ODD_FILES)
def test_odd_records_are_none(cached: CachedRepo, kind: str) -> None:
    """The commit of a revision is looked up again where its record cannot be one."""
    assert cached.commit_of("main") == COMMIT
    put(kind, cached.directory / "refs" / "main")
    assert in_time(lambda: cached.commit_of("main")) is None


@pytest.mark.parametrize("kind", sorted(ODD_FILES.keys() - {"empty", "noise", "nested"}))
def test_odd_blobs_are_not_right(cached: CachedRepo, kind: str) -> None:
    """A file that is none, or claims terabytes, is not hashed."""
    put(kind, cached.blob(ETAG).path)
    if kind == "huge":
        os.truncate(cached.blob(ETAG).path, 10**13)
        assert not in_time(cached.blob(ETAG).is_right)
    else:
        assert in_time(lambda: cached.blobs_of(COMMIT, ["x"])) is None


@pytest.mark.parametrize("kind", sorted(ODD_FILES.keys() - {"directory"}))
def test_odd_partial_files_are_begun_again(tmp_path: Path, kind: str) -> None:
    """A pull neither waits for a pipe nor writes through a link."""
    blob = Blob(tmp_path / ETAG, tmp_path / f"{ETAG}.blocks", 4)
    put(kind, blob.partial)
    put(kind, blob.journal)
    assert in_time(lambda: blob.held(len(DATA))) == set()
    in_time(lambda: blob.write_block(0, DATA[:4]))
    in_time(lambda: blob.write_block(1, DATA[4:]))
    assert blob.partial.read_bytes() == DATA
    assert in_time(lambda: blob.held(len(DATA))) == {0, 1}


def test_a_partial_file_elsewhere_is_left_alone(tmp_path: Path) -> None:
    """A link is removed, and what it leads to stays as it is."""
    blob = Blob(tmp_path / ETAG, tmp_path / f"{ETAG}.blocks", 4)
    (tmp_path / "precious").write_bytes(b"precious")
    blob.partial.symlink_to(tmp_path / "precious")
    assert blob.held(4) == set()
    blob.write_block(0, b"1234")
    assert (tmp_path / "precious").read_bytes() == b"precious"


@pytest.mark.parametrize("kind", ODD_FILES)
def test_odd_leases_hold_nobody_up(tmp_path: Path, kind: str) -> None:
    """What is not a lease is passed over; one that does not live is taken over."""
    directory = tmp_path / "leases"
    directory.mkdir()
    put(kind, directory / "5")
    put(kind, directory / ("9" * 90))
    put(kind, directory / "٣")
    lease = Lease(directory, beat_s=0.05, stale_s=0.2)
    until = time.monotonic() + 5
    assert in_time(lambda: lease.acquire(deadline=until, unless=lambda: False))
    lease.check()
    lease.release()
