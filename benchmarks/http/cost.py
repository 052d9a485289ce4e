"""What HTTP adds to a speech: the same requests over HTTP and straight to the service, in turn."""

import asyncio
import statistics
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.http.crowd import body_of
from benchmarks.http.listener import hear
from higgs_worker.api.openai import parse_speech
from higgs_worker.delivery.encoding import PacketWriter
from higgs_worker.delivery.responder import Service
from tests.fakes.http_worker import HttpWorker


async def measure_cost(
    worker: HttpWorker, service: Service, repeats: int, crowd: int
) -> dict[str, Any]:
    """Measure one speech at a time, then some at once.

    Args:
        worker: the server.
        service: the same model in this process.
        repeats: rounds of each.
        crowd: speeches at once.
    """
    firsts: dict[str, list[float]] = {"direct": [], "http": []}
    totals: dict[str, list[float]] = {"direct": [], "http": []}
    after_pcm: list[float] = []
    for seed in range(-1, repeats):
        body = body_of(max(seed, 0))
        direct = await _speak(service, body)
        over_http = await hear(worker.address, body)
        events = await hear(worker.address, body | {"stream_format": "sse"})
        if seed < 0:
            continue  # the first ones load and import
        for name, (first_s, total_s) in {
            "direct": direct,
            "http": (over_http.first_s, over_http.total_s),
        }.items():
            firsts[name].append(first_s)
            totals[name].append(total_s)
        after_pcm.append(events.first_s - events.events[-1]["timing"]["first_audio_s"])
    at_once: dict[str, list[float]] = {"direct": [], "http": []}
    bodies = [body_of(seed) for seed in range(crowd)]
    for number in range(-1, max(2, repeats // 8)):
        for name in at_once:
            started = time.perf_counter()
            if name == "direct":
                await asyncio.gather(*(_speak(service, body) for body in bodies))
            else:
                await asyncio.gather(*(hear(worker.address, body) for body in bodies))
            if number >= 0:
                at_once[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(each) for name, each in firsts.items()}
    return {
        "first_s": medians,
        "first_ratio": medians["http"] / medians["direct"],
        "total_ratio": statistics.median(totals["http"]) / statistics.median(totals["direct"]),
        "first_pcm_to_first_byte_ms": 1000 * statistics.median(after_pcm),
        "at_once": crowd,
        "at_once_s": {name: statistics.median(each) for name, each in at_once.items()},
        "at_once_ratio": statistics.median(at_once["http"]) / statistics.median(at_once["direct"]),
    }


async def _speak(service: Service, body: Mapping[str, Any]) -> tuple[float, float]:
    """Speak without HTTP, the audio encoded; return the seconds to the first of it, and of all."""
    started, first_s = time.perf_counter(), 0.0
    request = parse_speech(dict(body), max_text_chars=1000).request
    speech = await service.start(request, is_live=True)
    packets = PacketWriter(request, speech.sample_rate)
    async for pcm in speech:
        if packets.feed(pcm):
            first_s = first_s or time.perf_counter() - started
    return first_s, time.perf_counter() - started
