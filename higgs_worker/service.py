"""Requests in, speech out.

Loads the model on the first request, once, and off the event loop; `speech.py` does the rest. Knows
no job, no HTTP and no platform; whoever calls it validated the request.
"""

import asyncio
import secrets
import time
from collections.abc import Callable

import numpy as np

from higgs_worker.audio import encode, shape
from higgs_worker.result import SpeechResult
from higgs_worker.schema import SpeechRequest
from higgs_worker.speech import PCM, Clock, Speaker, Speech

EDGE_S = 0.005
"""Fades at both ends: too short to hear, long enough that no player clicks."""


class SpeechService:
    """Speaks requests, as many at once as there are slots; further ones wait in the engine."""

    def __init__(self, load: Callable[[], Speaker]) -> None:
        self._load = load
        self._speaker: Speaker | None = None
        self._loading = asyncio.Lock()

    async def start(self, request: SpeechRequest) -> "Speech":
        """Begin to speak a request; its PCM comes piece by piece.

        Raises:
            WorkerError: it cannot begin.
        """
        arrived = time.perf_counter()
        async with self._loading:
            started = time.perf_counter()
            if self._speaker is None:
                self._speaker = await asyncio.to_thread(self._load)
        clock = Clock(arrived, queue_s=started - arrived, load_s=time.perf_counter() - started)
        seed = secrets.randbelow(2**63) if request.seed is None else request.seed
        reference = None
        if request.voice is not None:
            resolve = self._speaker.references.resolve
            reference = await asyncio.to_thread(resolve, request.voice)
        return Speech(self._speaker, request, seed, clock, reference)

    async def speak(self, request: SpeechRequest) -> SpeechResult:
        """Speak one request to its end.

        Raises:
            WorkerError: with a code and a sentence for the caller.
        """
        speech = await self.start(request)
        pieces = [pcm async for pcm in speech]
        rate = speech.speaker.sample_rate
        audio = await asyncio.to_thread(finish, np.concatenate(pieces), rate, request)
        return speech.result(audio)


def finish(pcm: PCM, sample_rate: int, request: SpeechRequest) -> bytes:
    """Give the audio the speed, loudness, rate and form that were asked for; blocks."""
    pcm = shape.fade(pcm, sample_rate, in_s=EDGE_S, out_s=EDGE_S)
    if request.speed != 1:
        pcm = shape.change_speed(pcm, sample_rate, request.speed)
    if request.loudness_lufs is not None:
        pcm = shape.match_loudness(pcm, sample_rate, request.loudness_lufs)
    if request.sample_rate != sample_rate:
        pcm = shape.resample(pcm, sample_rate, request.sample_rate)
    return encode.encode(pcm, request.sample_rate, request.format)
