"""Many clients at once, half of which hang up midway: are the others harmed, is anything kept?"""

import asyncio
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.http.listener import Heard, hear
from benchmarks.http.standing import Standing, settle, slopes
from tests.fakes.http_worker import HttpWorker, is_same, pcm_of

TEXT = "The morning train was late again, so I read the paper twice."
NUM_SEEDS = 8
"""Different speeches; each is heard alone as well, so that there is something to compare with."""


def body_of(seed: int, **fields: Any) -> dict[str, Any]:
    """Return a request whose audio follows from its seed."""
    return {"input": TEXT, "voice": "bram", "seed": seed, "response_format": "pcm", **fields}


async def measure_crowd(worker: HttpWorker, clients: int, rounds: int) -> dict[str, Any]:
    """Let a crowd come `rounds` times, after once that is not counted.

    Args:
        worker: the server.
        clients: how many come at once; every other one hangs up.
        rounds: at least two, for a slope.
    """
    draw = random.Random(0)
    alone = [await hear(worker.address, body_of(seed)) for seed in range(NUM_SEEDS)]
    expected = [pcm_of(each.body) for each in alone]
    firsts_alone: list[float] = []
    stayed: list[tuple[int, Heard]] = []
    standings: list[Standing] = []
    seconds: list[float] = []
    for number in range(rounds + 1):
        firsts_alone += [
            (await hear(worker.address, body_of(seed))).first_s for seed in range(NUM_SEEDS)
        ]
        started = time.perf_counter()
        came = await _come(worker.address, clients, [len(each.body) for each in alone], draw)
        took_s, standing = time.perf_counter() - started, await settle(worker)
        print(
            f"round {number}: {took_s:.1f} s, {standing.memory_mb:.1f} MB, "
            f"{standing.open_files:.0f} open files, {standing.threads:.0f} threads, free after "
            f"{standing.settled_s:.2f} s",
            flush=True,
        )
        if number:
            stayed += came
            standings.append(standing)
            seconds.append(took_s)
    firsts = sorted(each.first_s for _, each in stayed)
    firsts_alone.sort()
    return {
        "clients": clients,
        "rounds": rounds,
        "stayed": len(stayed),
        "whole": sum(each.is_whole for _, each in stayed),
        "as_long_as_alone": sum(
            len(pcm_of(each.body)) == len(expected[seed]) for seed, each in stayed
        ),
        "same_as_alone": sum(is_same(pcm_of(each.body), expected[seed]) for seed, each in stayed),
        "first_audio_alone_s": quantiles(firsts_alone),
        "first_audio_s": quantiles(firsts),
        "p50_ratio": statistics.median(firsts) / statistics.median(firsts_alone),
        "p95_ratio": quantiles(firsts)["p95"] / quantiles(firsts_alone)["p95"],
        "round_s": statistics.median(seconds),
        "standings": [asdict(each) for each in standings],
        "slopes_per_round": slopes(standings),
    }


async def _come(
    address: str, clients: int, lengths: Sequence[int], draw: random.Random
) -> list[tuple[int, Heard]]:
    """Return what those heard who stayed, and the seed of each."""
    seeds = [number // 2 % NUM_SEEDS for number in range(clients)]
    limits = [
        int(lengths[seed] * draw.uniform(0.0, 0.9)) if number % 2 else None
        for number, seed in enumerate(seeds)
    ]
    heard = await asyncio.gather(
        *(
            hear(address, body_of(seed), max_bytes=limit)
            for seed, limit in zip(seeds, limits, strict=True)
        )
    )
    found = zip(seeds, limits, heard, strict=True)
    return [(seed, each) for seed, limit, each in found if limit is None]


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the 95th of a hundred."""
    ranked = sorted(values)
    return {
        "p50": statistics.median(ranked),
        "p95": ranked[min(len(ranked) - 1, round(0.95 * len(ranked)))],
    }
