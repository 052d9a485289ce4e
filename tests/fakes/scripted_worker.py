"""A worker whose service does what the text says, with the real SDK around it.

    python -m tests.fakes.scripted_worker

What it can be told stands in `ScriptedService`; everything but the service is the worker's own.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from handler import serve
from higgs_worker import logs
from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import ModelInfo, SpeechResult, Timing, Usage
from higgs_worker.build import build
from higgs_worker.errors import EngineBroken
from higgs_worker.settings import Settings

RATE = 24_000
REPORT_EVERY_S = 0.5
RESULT = SpeechResult(
    audio=b"",
    format="wav",
    sample_rate=RATE,
    channels=1,
    duration_s=1.0,
    segments=(),
    seed=7,
    finish_reason="stop",
    warnings=(),
    usage=Usage(text_tokens=1, audio_frames=25, characters=1),
    timing=Timing(queue_s=0.0, load_s=0.0, first_audio_s=0.0, total_s=0.0, rtf=0.0),
    model=ModelInfo(id="scripted", revision=None),
)


class ScriptedService:
    """Speaks `<verb> <argument>`."""

    def __init__(self) -> None:
        self.num_cancelled = 0

    async def speak(
        self, request: SpeechRequest, on_progress: Callable[[float], None] | None = None
    ) -> SpeechResult:
        """Do what the text says."""
        verb, _, argument = request.text.partition(" ")
        match verb:
            case "sleep":  # that many seconds
                await self._sleep(float(argument), on_progress)
            case "bytes":  # of audio
                return replace(RESULT, audio=bytes(int(argument)))
            case "odd":  # what JSON cannot hold
                return replace(RESULT, warnings=("half \ud83d",), duration_s=float("nan"))
            case "defect":
                raise RuntimeError(f"a defect; {argument}")
            case "broken":
                raise EngineBroken("the device is gone; this worker must be replaced")
            case "cancelled":  # how many sleepers were
                return replace(RESULT, seed=self.num_cancelled)
        return replace(RESULT, audio=request.text.encode())

    async def start(self, request: SpeechRequest, *_: Any, **__: Any) -> Any:
        """Begin to speak in pieces."""
        return ScriptedSpeech(request)

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
        self.speaker = SimpleNamespace(sample_rate=RATE)
        text = request.text if request.text.startswith("pieces") else "pieces 1 0.1 0"
        _, count, self._piece_s, self._pause_s, *self._then = text.split()
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

    def result(self, audio: bytes) -> SpeechResult:
        """Describe it; the seed tells how many speeches were left before their end."""
        timing = replace(RESULT.timing, total_s=self._total_s)
        return replace(
            RESULT, audio=audio, timing=timing, format=self.request.format, seed=self.num_left
        )


def main() -> None:
    """Serve until told to stop."""
    settings = Settings.from_env()
    logs.setup(settings.log_level)
    worker = build(settings)
    serve(replace(worker, service=ScriptedService(), report_every_s=REPORT_EVERY_S), settings)


if __name__ == "__main__":
    main()
