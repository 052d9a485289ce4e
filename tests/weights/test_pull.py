"""When a pull fails: whether the worker may give up depends on its lease."""

import errno
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from higgs_worker.errors import (
    VolumeUnusable,
    WeightsNotFound,
    WeightsRefused,
    WeightsUnavailable,
)
from higgs_worker.weights.cache import CachedRepo
from higgs_worker.weights.hub import Hub, HubFile, Listing
from higgs_worker.weights.lease import LeaseLost
from higgs_worker.weights.pull import Pull
from higgs_worker.weights.retry import Retryable
from tests.fakes.hub import BLOCK, CALM, REPO

LISTED = Listing(REPO, "c" * 40, {"weights": HubFile("weights", 2 * BLOCK, "a" * 64)})
HUGE = Listing(REPO, "c" * 40, {"weights": HubFile("weights", 10**16, "a" * 64)})


class ScriptedHub:
    """A hub whose listing is a value or an error, and whose files break off with an error."""

    def __init__(self, listing: Listing | Exception, breaks_with: Exception | None = None) -> None:
        self._listing, self._breaks_with = listing, breaks_with

    def listing(self, repo: str, revision: str) -> Listing:
        """Return the listing, or fail."""
        if isinstance(self._listing, Exception):
            raise self._listing
        return self._listing

    def honours_ranges(self, listing: Listing, file: HubFile) -> bool:
        """Return that it does."""
        return True

    def read(self, *_: Any) -> Generator[bytes, None, None]:
        """Send one block, then fail or send wrong bytes."""
        yield bytes(BLOCK)
        if self._breaks_with:
            raise self._breaks_with
        yield bytes(BLOCK)

    def stop(self) -> None:
        """Do nothing: no request waits."""


FAILURES: dict[str, tuple[ScriptedHub, dict[str, float], int, type[Exception]]] = {
    "next to nothing came": (ScriptedHub(LISTED), {"stall_s": 0}, 0, WeightsUnavailable),
    "the deadline is over": (ScriptedHub(LISTED), {"deadline_s": 0}, 0, WeightsUnavailable),
    "the hub asks for too long a wait": (
        ScriptedHub(Retryable("busy", after_s=1e6)),
        {},
        0,
        WeightsUnavailable,
    ),
    "the hub refuses": (ScriptedHub(WeightsRefused("no")), {}, 0, WeightsRefused),
    "a file is missing": (
        ScriptedHub(replace(LISTED, files={})),
        {},
        0,
        WeightsNotFound,
    ),
    "too little space": (ScriptedHub(HUGE), {}, 1, VolumeUnusable),
    "the volume is full": (ScriptedHub(LISTED, OSError(errno.ENOSPC, "full")), {}, 2, OSError),
    "the volume fails": (ScriptedHub(LISTED, OSError(errno.ESTALE, "stale")), {}, 2, OSError),
    "wrong bytes": (ScriptedHub(LISTED), {}, 10, WeightsUnavailable),
}
"""By name: the hub, the limits, how often the lease is looked at before, and the error."""


def pull(name: str, volume: Path, check_lease: Callable[[], None]) -> None:
    """Pull until it fails."""
    hub, changes, _, _ = FAILURES[name]
    limits = replace(CALM, num_connections=1, **cast(dict[str, Any], changes))

    deadline = time.monotonic() + limits.deadline_s
    cached = CachedRepo(volume, REPO, BLOCK)
    pulling = Pull(
        cast(Hub, hub), cached, limits=limits, deadline=deadline, check_lease=check_lease
    )
    cached.directory.mkdir(parents=True, exist_ok=True)
    pulling.run("main", lambda _: ["weights"])


@pytest.mark.parametrize("name", FAILURES)
def test_the_holder_of_the_lease_gives_up(name: str, tmp_path: Path) -> None:
    """While the lease is held, the error of the failure is raised."""
    checks: list[None] = []
    with pytest.raises(FAILURES[name][3]):
        pull(name, tmp_path, lambda: checks.append(None))
    assert len(checks) > FAILURES[name][2], "the lease is looked at once more before giving up"


@pytest.mark.parametrize("name", FAILURES)
def test_a_worker_that_lost_its_lease_does_not_give_up(name: str, tmp_path: Path) -> None:
    """Whatever fails: when another worker took over meanwhile, that is what is raised.

    A worker that was frozen and thawed fails like this: its time is over, and the other one pulls
    or has pulled.
    """
    num_checks_left = FAILURES[name][2]

    def check_lease() -> None:
        nonlocal num_checks_left
        if num_checks_left == 0:
            raise LeaseLost
        num_checks_left -= 1

    with pytest.raises(LeaseLost):
        pull(name, tmp_path, check_lease)
    assert num_checks_left == 0
    if name == "the volume is full":
        assert list(tmp_path.rglob("*.incomplete")), "what another worker pulls now was removed"


def test_a_file_is_repaired_under_the_lease_only(tmp_path: Path) -> None:
    """Hashing takes minutes: what was damaged at its end may be another worker's repaired file."""
    blob = CachedRepo(tmp_path, REPO, BLOCK).blob("a" * 64)
    blob.path.parent.mkdir(parents=True)
    blob.path.write_bytes(b"damaged")
    checks = [LeaseLost(), None]

    def check_lease() -> None:
        if error := checks.pop():
            raise error

    with pytest.raises(LeaseLost):
        pull("wrong bytes", tmp_path, check_lease)
    assert blob.path.exists()
