"""A worker whose service does what the text says, with the real SDK around it.

    python -m tests.fakes.scripted_worker

What it can be told stands in `ScriptedService`; everything but the service is the worker's own.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any

import numpy as np

from higgs_worker import logs
from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import SpeechResult
from higgs_worker.build import build
from higgs_worker.errors import EngineBroken
from higgs_worker.health.startup import fitness_checks
from higgs_worker.load import checkpoint_source
from higgs_worker.serverless.sdk import serve
from higgs_worker.settings import Settings
from tests.fakes.loop_watch import LoopWatch
from tests.fakes.speeches import RATE, RESULT, FixedSpeech, samples_of

REPORT_EVERY_S = 0.5


class ScriptedService:
    """Speaks `<verb> <argument>`."""

    def __init__(self) -> None:
        self.num_cancelled = 0
        self.watch = LoopWatch()

    def preload(self) -> None:
        """There is no model."""

    async def start(
        self,
        request: SpeechRequest,
        on_progress: Callable[[float], None] | None = None,
        *,
        is_live: bool = True,
    ) -> Any:
        """Do what the text says."""
        verb, _, argument = request.text.partition(" ")
        pcm, result = samples_of(request.text), RESULT
        match verb:
            case "pieces":
                return ScriptedSpeech(request)
            case "sleep":  # that many seconds
                await self._sleep(float(argument), on_progress)
            case "bytes":  # of audio, without the file's header
                pcm = np.zeros(int(argument) // 2, np.float32)
            case "odd":  # what JSON cannot hold
                result = replace(RESULT, warnings=("half \ud83d",), duration_s=float("nan"))
            case "defect":
                raise RuntimeError(f"a defect; {argument}")
            case "broken":
                raise EngineBroken("the device is gone; this worker must be replaced")
            case "stall":  # how many milliseconds the loop stood still, since the last time
                result = replace(RESULT, seed=round(1000 * self.watch.longest_s()))
            case "cancelled":  # how many sleepers were
                result = replace(RESULT, seed=self.num_cancelled)
        return FixedSpeech(request, pcm, result)

    async def _sleep(self, seconds: float, on_progress: Callable[[float], None] | None) -> None:
        started = time.monotonic()
        try:
            while (passed := time.monotonic() - started) < seconds:
                if on_progress:
                    on_progress(passed / seconds)
                await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            self.num_cancelled += 1
            raise


class ScriptedSpeech:
    """Speaks `pieces <count> <seconds of audio in each> <pause>`, then whatever follows.

    Any other text is one short piece.
    """

    num_left = 0
    """Speeches that nobody heard to their end."""
    fraction_spoken = 0.5

    def __init__(self, request: SpeechRequest) -> None:
        self.request = request
        self.sample_rate = RATE
        _, count, self._piece_s, self._pause_s, *self._then = request.text.split()
        self._count = int(count)
        self._started = time.monotonic()

    async def __aiter__(self) -> AsyncGenerator[Any, None]:
        """Give a ramp, so that every sample tells where it belongs."""
        num_samples = round(float(self._piece_s) * RATE)
        self._total_s = 0.0
        try:
            for index in range(self._count):
                await asyncio.sleep(float(self._pause_s))
                ramp = np.arange(num_samples) + index * num_samples
                yield (ramp % 32768 / 32768).astype(np.float32)
            if self._then == ["broken"]:
                raise EngineBroken("the device is gone; this worker must be replaced")
            self._total_s = time.monotonic() - self._started
        finally:
            ScriptedSpeech.num_left += self._total_s == 0

    def result(self) -> SpeechResult:
        """Describe it; the seed tells how many speeches were left before their end."""
        timing = replace(RESULT.timing, total_s=self._total_s)
        return replace(RESULT, timing=timing, seed=self.num_left)


def main() -> None:
    """Serve until told to stop."""
    settings = Settings.from_env()
    logs.setup(settings.log_level)
    worker = build(settings)
    responder = replace(worker.responder, service=ScriptedService())
    worker = replace(worker, responder=responder, report_every_s=REPORT_EVERY_S)
    serve(worker, settings, checks=fitness_checks(settings, checkpoint_source(settings)))


if __name__ == "__main__":
    main()
