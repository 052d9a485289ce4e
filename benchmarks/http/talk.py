"""The websocket: from the end of a sentence to its first sound."""

import json
import time
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from benchmarks.http.beside import beside
from benchmarks.http.crowd import TEXT, quantiles
from tests.fakes.http_worker import SECRETS, HttpWorker


async def measure_talks(worker: HttpWorker, others: int, repeats: int) -> dict[str, Any]:
    """Measure alone, then while others talk without a pause.

    Args:
        worker: the server.
        others: conversations beside the measured one.
        repeats: sentences that are measured in each case.
    """
    async with _open(worker) as talk:
        await say(talk)
        alone = [await say(talk) for _ in range(repeats)]
        async with beside((_chat(worker) for _ in range(others)), settle_s=2.0):
            accompanied = [await say(talk) for _ in range(repeats)]
    return {
        "others": others,
        "alone_s": quantiles(alone),
        "beside_s": quantiles(accompanied),
        "p50_ratio": quantiles(accompanied)["p50"] / quantiles(alone)["p50"],
    }


async def say(talk: ClientConnection) -> float:
    """Say a sentence word by word, hear it out, and return how long its first sound took."""
    for word in TEXT.split(" "):
        await talk.send(json.dumps({"type": "Speak", "text": f" {word}"}))
    await talk.send(json.dumps({"type": "Flush"}))
    flushed, first_s = time.perf_counter(), 0.0
    while True:
        frame = await talk.recv()
        if isinstance(frame, bytes):
            first_s = first_s or time.perf_counter() - flushed
        elif (message := json.loads(frame))["type"] == "Flushed":
            return first_s
        elif message["type"] == "Error":
            raise RuntimeError(frame)


async def _chat(worker: HttpWorker) -> None:
    async with _open(worker) as talk:
        while True:
            await say(talk)


def _open(worker: HttpWorker) -> connect:
    return connect(
        f"ws://{worker.address}/v1/speak?voice=bram&seed=1",
        additional_headers={"Authorization": f"Token {SECRETS['HIGGS_API_KEY']}"},
        proxy=None,
    )
