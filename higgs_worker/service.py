"""Requests in, speech out.

Loads the model on the first request, once, and off the event loop; `speech.py` does the rest. Knows
no job, no HTTP and no platform; whoever calls it validated the request.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import aclosing

import numpy as np

from higgs_worker.audio import encode, shape
from higgs_worker.references import Reference, References
from higgs_worker.result import SpeechResult
from higgs_worker.schema import SpeechRequest
from higgs_worker.script import Script, write
from higgs_worker.speech import Clock, Speaker, Speech
from higgs_worker.take import PCM

OnProgress = Callable[[float], None]
"""Takes the share of the text that has been spoken, 0 to 1."""


class SpeechService:
    """Speaks requests, as many at once as there are slots; further ones wait in the engine."""

    def __init__(self, load: Callable[[], Speaker]) -> None:
        self._load = load
        self._loading: asyncio.Task[Speaker] | None = None

    async def start(self, request: SpeechRequest, *, is_live: bool = True) -> Speech:
        """Prepare to speak a request; its PCM comes piece by piece to whoever iterates.

        Raises:
            WorkerError: it cannot begin.
        """
        arrived = time.perf_counter()
        # Before anything heavy: what is wrong with a text is said at once.
        script = await asyncio.to_thread(write, request)
        started = time.perf_counter()
        is_first = self._loading is None
        speaker = await self._loaded()
        waited_s = time.perf_counter() - started
        # Who came while it was being loaded waited like in a queue.
        clock = Clock(
            arrived,
            queue_s=started - arrived + (0.0 if is_first else waited_s),
            load_s=waited_s if is_first else 0.0,
        )
        return Speech(
            speaker,
            request,
            script,
            await _references(speaker.references, script),
            seed=secrets.randbelow(2**63) if request.seed is None else request.seed,
            clock=clock,
            is_live=is_live,
        )

    async def _loaded(self) -> Speaker:
        """Load the model once, however many ask for it and whoever of them gives up."""
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(self._load))
        loading = self._loading
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:
            raise
        except Exception:
            # Weights that were not there may be there next time.
            if self._loading is loading:
                self._loading = None
            raise

    async def speak(
        self, request: SpeechRequest, on_progress: OnProgress | None = None
    ) -> SpeechResult:
        """Speak one request to its end.

        Raises:
            WorkerError: with a code and a sentence for the caller.
        """
        speech = await self.start(request, is_live=False)
        pieces = []
        async with aclosing(aiter(speech)) as heard:
            async for pcm in heard:
                pieces.append(pcm)
                if on_progress is not None:
                    on_progress(speech.fraction_spoken)
        rate = speech.speaker.sample_rate
        audio = await asyncio.to_thread(finish, np.concatenate(pieces), rate, request)
        return speech.result(audio)


async def _references(library: References, script: Script) -> dict[str | None, Reference]:
    """Find the recordings of all speakers who have one, side by side."""
    wanted = {
        speaker: role.choice
        for speaker, role in script.roles.items()
        if role.choice is not None and role.has_recording
    }
    found = await asyncio.gather(
        *(asyncio.to_thread(library.resolve, choice) for choice in wanted.values())
    )
    return dict(zip(wanted, found, strict=True))


def finish(pcm: PCM, sample_rate: int, request: SpeechRequest) -> bytes:
    """Give the audio the speed, loudness, rate and form that were asked for; blocks."""
    if request.speed != 1:
        pcm = shape.change_speed(pcm, sample_rate, request.speed)
    if request.loudness_lufs is not None:
        pcm = shape.match_loudness(pcm, sample_rate, request.loudness_lufs)
    if request.sample_rate != sample_rate:
        pcm = shape.resample(pcm, sample_rate, request.sample_rate)
    return encode.encode(pcm, request.sample_rate, request.format)
