"""The lock between workers: one at a time, and nobody waits for the dead."""

import os
import threading
import time
from pathlib import Path

import pytest

from higgs_worker.weights.lease import Lease, LeaseLost


def lease_of(directory: Path, stale_s: float = 0.3) -> Lease:
    """Return a worker's lease that beats twenty times a second."""
    return Lease(directory / "leases", beat_s=0.05, stale_s=stale_s)


def acquire(lease: Lease, wait_s: float = 5.0) -> bool:
    """Wait for a lease whatever happens."""
    return lease.acquire(deadline=time.monotonic() + wait_s, unless=lambda: False)


def freeze(lease: Lease) -> None:
    """Let a holder give no sign of life any more, and release nothing."""
    lease._released.set()


def test_one_holds_and_the_next_one_follows(tmp_path: Path) -> None:
    """A released lease is free at once, however fresh it is."""
    first, second = lease_of(tmp_path, 60), lease_of(tmp_path, 60)
    assert acquire(first)
    with pytest.raises(TimeoutError):
        acquire(second, wait_s=0.2)
    first.release()
    assert acquire(second, wait_s=0)
    second.check()
    with pytest.raises(LeaseLost):
        first.check()


def test_a_living_holder_is_left_alone(tmp_path: Path) -> None:
    """Signs of life keep a lease, for many times the time after which it would be stale."""
    first, second = lease_of(tmp_path), lease_of(tmp_path)
    assert acquire(first)
    with pytest.raises(TimeoutError):
        acquire(second, wait_s=0.9)
    first.check()
    first.release()


def test_a_silent_holder_is_replaced_and_knows(tmp_path: Path) -> None:
    """Without signs of life another takes over, and the first one's release changes nothing."""
    first, second, third = (lease_of(tmp_path) for _ in range(3))
    assert acquire(first)
    freeze(first)
    assert acquire(second)
    with pytest.raises(LeaseLost):
        first.check()
    first.release()
    second.check()
    with pytest.raises(TimeoutError):
        acquire(third, wait_s=0.1)
    second.release()


def test_clocks_need_not_agree(tmp_path: Path) -> None:
    """A time of long ago or far ahead is only a time that does or does not move."""
    for number, moment in ((1, 1.0), (2, 4e9)):
        path = tmp_path / "leases" / str(number)
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (moment, moment))
        with pytest.raises(TimeoutError):
            acquire(lease_of(tmp_path, 60), wait_s=0)
    lease = lease_of(tmp_path)
    assert acquire(lease)
    lease.release()


def test_a_living_holder_is_left_alone_without_exclusive_creation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that creates what exists already costs at most a race, not the lease."""
    opened = os.open
    monkeypatch.setattr(os, "open", lambda path, flags, *a: opened(path, flags & ~os.O_EXCL, *a))
    first, second = lease_of(tmp_path, 60), lease_of(tmp_path, 60)
    assert acquire(first)
    with pytest.raises(TimeoutError):
        acquire(second, wait_s=0.1)
    first.check()
    first.release()


def test_waiting_ends_when_nothing_is_left_to_do(tmp_path: Path) -> None:
    """Who waits for somebody else's work needs no lease once it is done."""
    first, second = lease_of(tmp_path), lease_of(tmp_path)
    assert acquire(first)
    asked = iter([False, False, True])
    assert not second.acquire(deadline=time.monotonic() + 5, unless=lambda: next(asked))
    second.release()
    first.check()
    first.release()


def test_never_two_at_once(tmp_path: Path) -> None:
    """Of many that take turns, one is inside at a time."""
    inside, most, turns = 0, 0, 0

    def take_turns() -> None:
        nonlocal inside, most, turns
        for _ in range(3):
            lease = lease_of(tmp_path, 10)
            assert acquire(lease, wait_s=30)
            inside += 1
            most = max(most, inside)
            time.sleep(0.005)
            lease.check()
            inside -= 1
            turns += 1
            lease.release()

    threads = [threading.Thread(target=take_turns) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, turns) == (1, 12)
