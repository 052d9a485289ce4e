"""Hostile recordings through the process that reads them. With `-s`, the figures are printed."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from higgs_worker.audio.reader import MAX_AT_ONCE, RecordingReader
from higgs_worker.audio.reader_process import max_memory_bytes, max_wall_s
from higgs_worker.errors import InvalidAudio
from tests.audio.recordings import VALID, mutated
from tests.fakes.bombs import BOMBS, MAX_BYTES
from tests.fakes.process_memory import forget_peak, num_open_files, peak_mb, watching_forks

MAX_S = 20.0
NUM_MUTATED = 10_000
IDLE_MB = 60
"""What the process holds before it sees a recording, and some room."""

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def reader() -> Iterator[RecordingReader]:
    """One process for all of them."""
    reader = RecordingReader()
    reader.read(VALID["wav"], sample_rate=24_000, min_s=0.1, max_s=MAX_S)
    yield reader
    reader.close()


def outcome(reader: RecordingReader, data: bytes) -> str:
    """Return how reading ended, in a few words that are equal for equal ends."""
    try:
        pcm = reader.read(data, sample_rate=24_000, min_s=0.1, max_s=MAX_S)
    except InvalidAudio as error:
        words = "".join(each for each in error.message if not each.isdigit())
        return f"refused: {words[:60]}"
    assert np.isfinite(pcm).all()
    assert np.abs(pcm).max() <= 1
    assert 0.1 <= len(pcm) / 24_000 <= MAX_S + 0.2
    return "read"


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_stays_within_its_limits(reader: RecordingReader, name: str) -> None:
    """Sound or a refusal; neither the worker's memory moves nor does the process exceed its own."""
    data = BOMBS[name]()
    assert len(data) <= 1.01 * MAX_BYTES
    forget_peak()
    before, started = peak_mb(), time.monotonic()
    with watching_forks() as forks:
        end = outcome(reader, data)
    taken_s, worker_mb = time.monotonic() - started, peak_mb() - before
    print(  # noqa: T201
        f"\n{name:42}{len(data) / 1e3:7.0f} kB{taken_s:6.1f} s"
        f"{forks.mb:6.0f} MB{worker_mb:+5.1f} MB  {end}",
        end="",
    )
    assert forks.mb <= IDLE_MB + (max_memory_bytes(MAX_S) + 2 * len(data)) / 1e6
    assert worker_mb < 16
    assert taken_s < max_wall_s(MAX_S) + 5


def test_damage_of_every_kind(reader: RecordingReader) -> None:
    """10,000 damaged files: each is sound or a refusal; memory and open files do not grow."""
    kinds = tuple(VALID)

    def read_one(number: int) -> tuple[str, str, float]:
        kind = kinds[number % len(kinds)]
        data = mutated(VALID[kind], np.random.default_rng(number))
        started = time.monotonic()
        return kind, outcome(reader, data), time.monotonic() - started

    ends: list[tuple[str, str, float]] = []
    before = num_files = 0.0
    with ThreadPoolExecutor(MAX_AT_ONCE) as threads, watching_forks() as forks:
        for start in range(0, NUM_MUTATED, 500):
            ends += threads.map(read_one, range(start, start + 500))
            if not start:
                forget_peak()
                before, num_files = peak_mb(), num_open_files()
    grown_mb, num_more = peak_mb() - before, num_open_files() - num_files
    accepted = Counter(kind for kind, end, _ in ends if end == "read")
    print(  # noqa: T201
        f"\n{len(ends)} damaged files of {len(kinds)} kinds; read, by kind: {dict(accepted)}",
        f"slowest {max(taken for *_, taken in ends):.1f} s; helper's peak {forks.mb:.0f} MB; "
        f"worker {grown_mb:+.1f} MB, {num_more:+.0f} open files",
        *(f"{n:6} {end}" for end, n in Counter(end for _, end, _ in ends).most_common()),
        sep="\n",
    )
    assert set(accepted) == set(kinds)
    assert forks.mb <= IDLE_MB + max_memory_bytes(MAX_S) / 1e6
    assert grown_mb < 8
    assert num_more <= 0
