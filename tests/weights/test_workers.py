"""Several workers on one volume: killed, frozen, crowded, and out of space."""

import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from higgs_worker.errors import VolumeUnusable
from higgs_worker.weights.locate import LocatedCheckpoint
from tests.fakes import hub
from tests.fakes.hub import BLOCK, CALM, StandIn
from tests.fakes.pull_worker import PullWorker
from tests.weights.test_faults import FILES_THERE, assert_right, pull

WEIGHTS = "model.safetensors"
SIZE = len(FILES_THERE[WEIGHTS])


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """Serve the toy model."""
    with StandIn(FILES_THERE) as each:
        yield each


def slowly(_: hub.Request, answer: hub.Answer) -> Iterator[bytes]:
    """Send 16 KB every 50 ms."""
    for piece in answer.pieces():
        yield piece
        time.sleep(0.05)


def wait_for_blocks(volume: Path, num_blocks: int) -> int:
    """Wait until so many blocks of the large file are there; gives how many there are."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for journal in volume.glob("bosonai/*/blobs/*.blocks"):
            num_lines = len(journal.read_text().splitlines())
            if len(journal.stem) == 64 and num_lines >= num_blocks:
                return num_lines
        time.sleep(0.01)
    raise AssertionError("nothing was pulled")


def found_by(worker: PullWorker) -> LocatedCheckpoint:
    """Return what a worker found."""
    found = worker.outcome()
    assert isinstance(found, LocatedCheckpoint)
    return found


def num_sent(standin: StandIn) -> int:
    """Return the bytes of the large file that went out."""
    return standin.num_body_bytes[f"{standin.commit}/{WEIGHTS}"]


@pytest.mark.slow
def test_a_killed_worker_is_followed_by_one_that_goes_on(standin: StandIn, tmp_path: Path) -> None:
    """After kill -9 in the middle, what had come is kept and only the rest is asked for."""
    standin.spoil("store", slowly, times=10_000)
    worker = PullWorker(standin, tmp_path)
    num_blocks = wait_for_blocks(tmp_path, 4)
    worker.kill()
    time.sleep(0.2)  # what is still on its way
    standin.num_body_bytes.clear()
    standin._faults.clear()
    assert_right(pull(standin, tmp_path))
    assert num_sent(standin) <= SIZE - num_blocks * BLOCK + 1


@pytest.mark.long
def test_thirty_kills_cost_only_what_was_on_its_way(standin: StandIn, tmp_path: Path) -> None:
    """Workers that are killed again and again still get through, and nothing is wrong."""
    chance = random.Random(9)
    standin.files[WEIGHTS] = hub.noise(200 * BLOCK + 777, 4)
    standin.spoil("store", slowly, times=10_000)
    num_blocks = 0
    for _ in range(30):
        worker = PullWorker(standin, tmp_path, stale_s=0.5)
        num_blocks = wait_for_blocks(tmp_path, num_blocks + 1)
        time.sleep(chance.uniform(0, 0.2))
        worker.kill()
    standin._faults.clear()
    assert_right(pull(standin, tmp_path), standin.files)
    size = len(standin.files[WEIGHTS])
    on_its_way = CALM.num_connections * BLOCK + 1  # and the probe
    assert num_sent(standin) <= size + 31 * on_its_way


@pytest.mark.slow
def test_four_workers_pull_each_byte_once(standin: StandIn, tmp_path: Path) -> None:
    """Started at the same time, one pulls and the others use what it pulled."""
    standin.spoil("store", slowly, times=4)
    workers = [PullWorker(standin, tmp_path) for _ in range(4)]
    for worker in workers:
        assert_right(found_by(worker))
    assert num_sent(standin) <= SIZE + 1
    assert len(standin.asked("api")) == 1


@pytest.mark.slow
def test_a_frozen_worker_holds_nobody_up(standin: StandIn, tmp_path: Path) -> None:
    """Another one takes over after a while; thawed, the first does no harm and succeeds too."""
    standin.spoil("store", slowly, times=10_000)
    frozen = PullWorker(standin, tmp_path)
    wait_for_blocks(tmp_path, 2)
    frozen.send_signal(signal.SIGSTOP)
    standin._faults.clear()
    calm = {"answer_s": 10, "silence_s": 10, "slow_s": 10}  # however busy the machine is
    try:
        assert_right(pull(standin, tmp_path, limits=calm))
    finally:
        frozen.send_signal(signal.SIGCONT)
    assert_right(found_by(frozen))


@pytest.mark.slow
def test_a_full_volume_is_said_and_left_as_it_was(standin: StandIn, tmp_path: Path) -> None:
    """One sentence says so at once, though a connection hangs, and nothing half done stays."""
    is_asked, is_over = threading.Event(), threading.Event()
    outcomes: list[bool] = []

    def hang_near_the_end(request: hub.Request, answer: hub.Answer) -> Iterator[bytes]:
        assert request.span
        if request.span[0] >= 8 * BLOCK:
            is_asked.set()
            outcomes.append(is_over.wait(15))
        elif request.span != (0, 1):  # the probe
            is_asked.wait(15)
        return answer.pieces()

    standin.spoil("store", hang_near_the_end, times=10_000)
    error = PullWorker(standin, tmp_path, max_file_bytes=5 * BLOCK).outcome()
    assert outcomes == [], "the failure waited for the connection that hangs"
    is_over.set()
    assert isinstance(error, VolumeUnusable)
    assert "is full; enlarge it" in error.message
    assert not list(tmp_path.glob("bosonai/*/blobs/*.incomplete"))
    standin._faults.clear()
    assert_right(pull(standin, tmp_path))


@pytest.mark.slow
def test_a_file_system_that_fills_up(standin: StandIn, tmp_path: Path) -> None:
    """The same on a real file system that something else fills meanwhile."""
    volume = tmp_path / "volume"
    volume.mkdir()
    options = ["-t", "tmpfs", "-o", "size=80m", "tmpfs", str(volume)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")

    def filling(request: hub.Request, answer: hub.Answer) -> Iterator[bytes]:
        with (volume / "filler").open("ab", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(65536))
                except OSError:
                    break
        return answer.pieces()

    try:
        standin.spoil("store", filling, times=10_000)
        assert isinstance(PullWorker(standin, volume).outcome(), VolumeUnusable)
        assert not list(volume.glob("bosonai/*/blobs/*.incomplete"))
        (volume / "filler").unlink()
        standin._faults.clear()
        assert_right(pull(standin, volume))
    finally:
        subprocess.run(["umount", str(volume)], check=True)
