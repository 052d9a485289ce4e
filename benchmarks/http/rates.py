"""How many health requests a second are answered, idle and while the worker speaks."""

import asyncio
import time
from typing import Any

from benchmarks.http.beside import beside
from benchmarks.http.crowd import body_of, quantiles
from benchmarks.http.listener import hear
from tests.fakes.http_worker import HttpWorker

PATHS = ("/ping", "/health/ready")


async def measure_rates(worker: HttpWorker, speakers: int, seconds: float) -> dict[str, Any]:
    """Ask as fast as one connection can, idle and beside speeches.

    Args:
        worker: the server.
        speakers: clients that are spoken to all the time.
        seconds: how long each path is asked.
    """
    idle = {path: await ask(worker.address, path, seconds) for path in PATHS}
    async with beside((_listen(worker.address) for _ in range(speakers)), settle_s=1.0):
        loaded = {path: await ask(worker.address, path, seconds) for path in PATHS}
    return {
        "speakers": speakers,
        "idle": idle,
        "loaded": loaded,
        "rate_ratio": {path: loaded[path]["per_s"] / idle[path]["per_s"] for path in PATHS},
    }


async def ask(address: str, path: str, seconds: float) -> dict[str, float]:
    """Ask over one connection, one request after the other.

    Returns:
        Requests a second, and milliseconds of one.
    """
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
    took: list[float] = []
    started = time.perf_counter()
    while (asked := time.perf_counter()) - started < seconds:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        [length] = [line for line in head.lower().split(b"\r\n") if b"content-length" in line]
        await reader.readexactly(int(length.split(b":")[1]))
        took.append(time.perf_counter() - asked)
    writer.close()
    ranked = quantiles(took)
    return {
        "per_s": len(took) / sum(took),
        "p50_ms": 1000 * ranked["p50"],
        "p95_ms": 1000 * ranked["p95"],
    }


async def _listen(address: str) -> None:
    while True:
        await hear(address, body_of(1))
