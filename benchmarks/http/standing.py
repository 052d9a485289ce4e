"""What a server holds, as it tells it itself and as /proc does."""

import asyncio
import statistics
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from tests.fakes.http_worker import SECRETS, HttpWorker

SETTLE_S = 30.0
"""What a hung-up client held is free within some steps; this is for machines that are busy."""
CLOSE_S = 0.5
"""The server closes its end of a connection after the client has read all, the last look's too."""
_GAUGES = ("higgs_requests_running", "higgs_slots_used", "higgs_sequences_waiting")


@dataclass(frozen=True, slots=True)
class Standing:
    """What the server's process holds while nobody asks for anything."""

    memory_mb: float
    open_files: float
    threads: float
    settled_s: float
    """How long it took until no request, slot or waiting sequence was left."""


async def settle(worker: HttpWorker) -> Standing:
    """Wait until nothing is under way, and return what is still held.

    Raises:
        RuntimeError: something stays under way.
    """
    started = time.perf_counter()
    while under_way := await asyncio.to_thread(_under_way, worker):
        if time.perf_counter() - started > SETTLE_S:
            raise RuntimeError(f"still under way after {SETTLE_S:g} s: {under_way}")
        await asyncio.sleep(0.02)
    settled_s = time.perf_counter() - started
    await asyncio.sleep(CLOSE_S)
    process = Path(f"/proc/{worker.process.pid}")
    status = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
    )
    return Standing(
        memory_mb=int(status["VmRSS"].split()[0]) / 1024,
        open_files=len(list((process / "fd").iterdir())),
        threads=int(status["Threads"]),
        settled_s=settled_s,
    )


def _under_way(worker: HttpWorker) -> dict[str, float]:
    figures = read_metrics(worker)
    return {name: figures[name] for name in _GAUGES if figures[name]}


def read_metrics(worker: HttpWorker) -> dict[str, float]:
    """Return the figures of /metrics that have no labels. Blocks."""
    request = urllib.request.Request(
        f"{worker.url}/metrics", headers={"Authorization": f"Bearer {SECRETS['HIGGS_API_KEY']}"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        lines = reply.read().decode().splitlines()
    pairs = [line.split() for line in lines if not line.startswith("#") and "{" not in line]
    return {name: float(value) for name, value in pairs}


def slopes(standings: Sequence[Standing]) -> dict[str, float]:
    """Return by how much each figure grows from one round to the next, by least squares."""
    rounds = range(len(standings))
    return {
        each.name: statistics.linear_regression(
            rounds, [asdict(standing)[each.name] for standing in standings]
        ).slope
        for each in fields(Standing)
    }
