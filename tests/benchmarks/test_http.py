"""The benchmark of the HTTP server, at a small size."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from benchmarks.http.cost import measure_cost
from benchmarks.http.crowd import measure_crowd
from benchmarks.http.rates import PATHS, measure_rates
from benchmarks.http.standing import Standing, slopes
from benchmarks.http.talk import measure_talks
from higgs_worker.build import build_responder
from higgs_worker.settings import Settings
from tests.fakes.http_worker import HttpWorker


@pytest.mark.long
def test_who_hangs_up_harms_nobody(tmp_path: Path) -> None:
    """Half of a crowd leaves midway: the others hear what they would alone, and nothing is kept."""
    with HttpWorker(tmp_path, HIGGS_MAX_SLOTS="4") as worker:
        found = asyncio.run(measure_crowd(worker, clients=8, rounds=2))
    assert found["stayed"] == 8
    assert found["whole"] == found["same_as_alone"] == found["as_long_as_alone"] == 8
    assert found["slopes_per_round"]["open_files"] == 0
    # Torch's and the pool's threads come when they are first needed, and stay.
    assert found["slopes_per_round"]["threads"] <= 2
    # One round's audio alone, as samples, is 3 MB.
    assert found["slopes_per_round"]["memory_mb"] < 50


@pytest.mark.long
def test_the_other_parts_measure(tmp_path: Path) -> None:
    """Each part comes to its end and has a figure for each of its cases."""

    async def measure(worker: HttpWorker) -> tuple[dict[str, Any], ...]:
        service = build_responder(Settings.from_env({"HIGGS_MODEL": "demo"})).service
        return (
            await measure_cost(worker, service, repeats=1, crowd=2),
            await measure_talks(worker, others=1, repeats=1),
            await measure_rates(worker, speakers=1, seconds=0.1),
        )

    with HttpWorker(tmp_path) as worker:
        cost, talks, rates = asyncio.run(measure(worker))
    assert cost["first_pcm_to_first_byte_ms"] > 0
    assert cost["first_s"].keys() == {"direct", "http"}
    assert talks["alone_s"]["p50"] > 0
    assert all(rates["loaded"][path]["per_s"] > 0 for path in PATHS)


def test_a_slope_is_that_of_the_rounds() -> None:
    """What grows by as much each round is told as that much."""
    standings = [Standing(100.0 + 2 * number, 8, 11, 0.0) for number in range(4)]
    found = slopes(standings)
    assert found["memory_mb"] == pytest.approx(2)
    assert found["open_files"] == found["threads"] == 0
