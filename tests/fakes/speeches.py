"""SpeechSource without a model: a service that says fixed samples, or its text as samples."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from higgs_worker.api.progress import OnProgress
from higgs_worker.api.reading import Reading
from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import ModelInfo, SegmentUpdate, SpeechResult, Timing, Usage
from higgs_worker.deadlines import Deadlines
from higgs_worker.delivery.delivery import Delivery
from higgs_worker.delivery.file import AudioFile, MemorySink, SaveDirectory
from higgs_worker.delivery.responder import Responder
from higgs_worker.delivery.sink import SpeechSource, deliver
from higgs_worker.serverless.runner import JobRunner
from higgs_worker.speech.chunking import plan
from higgs_worker.speech.reading import reading_of
from higgs_worker.voices.actions import Actions
from higgs_worker.voices.continuity import Continuity
from higgs_worker.voices.library import VoiceLibrary

RATE = 24_000
TONE = np.sin(np.arange(RATE) / 20).astype(np.float32) / 2
"""One second."""
_HEADER_BYTES = 44

RESULT = SpeechResult(
    duration_s=1.0,
    segments=(),
    seed=7,
    finish_reason="stop",
    warnings=(),
    usage=Usage(text_tokens=3, audio_frames=25, characters=6),
    timing=Timing(queue_s=0.0, load_s=0.0, first_audio_s=0.1, total_s=0.5, rtf=0.4),
    model=ModelInfo(id="fixed", revision=None),
)


def samples_of(text: str) -> np.ndarray:
    """Return a text as samples: one for each byte of its UTF-8."""
    return np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.float32) / 32767


def text_in(wav: bytes) -> str:
    """Return the text that the samples of a WAV file are."""
    samples = np.frombuffer(wav[_HEADER_BYTES:], "<i2")
    return samples.astype(np.uint8).tobytes().decode()


class FixedSpeech:
    """Says samples in pieces of a tenth of a second, or in twenty larger ones."""

    fraction_spoken = 0.5
    sample_rate = RATE

    def __init__(self, request: SpeechRequest, pcm: np.ndarray, result: SpeechResult) -> None:
        self.request = request
        self._pcm = pcm
        self._result = result
        told = enumerate(result.segments)
        self._news = [SegmentUpdate(*each, is_estimate=False) for each in told]
        self.seed, self.model = result.seed, result.model

    async def __aiter__(self) -> AsyncGenerator[Any, None]:
        """Yield the samples."""
        size = max(RATE // 10, len(self._pcm) // 20)
        for start in range(0, len(self._pcm), size):
            await asyncio.sleep(0)
            yield self._pcm[start : start + size]

    async def prepare(self) -> None:
        """There is nothing to generate."""

    def cancel(self) -> None:
        """There is nothing to cancel."""

    def take_segments(self) -> list[SegmentUpdate]:
        """Return all of them at once."""
        news, self._news = self._news, []
        return news

    def result(self) -> SpeechResult:
        """Return what was given."""
        return self._result


class FixedService:
    """Says the same for every request; remembers the requests."""

    def __init__(self, pcm: np.ndarray = TONE, result: SpeechResult = RESULT) -> None:
        self.pcm = pcm
        self.result = result
        self.requests: list[SpeechRequest] = []

    def preload(self) -> None:
        """There is no model."""

    async def start(
        self,
        request: SpeechRequest,
        on_progress: OnProgress | None = None,
        *,
        is_live: bool = True,
        continuity: Continuity | None = None,
    ) -> SpeechSource:
        """Prepare to say it."""
        self.requests.append(request)
        return FixedSpeech(request, self.pcm, self.result)

    async def read(self, request: SpeechRequest) -> Reading:
        """Read it as it would really be read."""
        return reading_of(request, plan(request))


class TextService(FixedService):
    """Says each text as samples, see `samples_of`."""

    async def start(self, request: SpeechRequest, *args: Any, **how: Any) -> SpeechSource:
        """Prepare to say it."""
        self.pcm = samples_of(request.text)
        return await super().start(request, *args, **how)


def responder(service: Any, storage: Any = None, save_dir: Path | None = None) -> Responder:
    """Return a responder on a service, without voices of its own."""

    def no_references() -> Any:
        raise AssertionError("this worker saves no voices")

    actions = Actions(VoiceLibrary(Path("/nonexistent/voices")), no_references, model="fixed")
    return Responder(service, actions, Delivery(storage, SaveDirectory(save_dir)))


def runner(
    service: Any,
    storage: Any = None,
    save_dir: Path | None = None,
    deadlines: Deadlines | None = None,
    max_text_chars: int = 1500,
    **parts: Any,
) -> JobRunner:
    """Return a runner of jobs on a service."""
    answers = responder(service, storage, save_dir)
    if deadlines is not None:
        answers = replace(answers, deadlines=deadlines)
    return JobRunner(answers, max_text_chars=max_text_chars, **parts)


async def listen(speech: SpeechSource) -> AudioFile:
    """Hear a speech to its end and return its file."""
    return await deliver(speech, MemorySink(speech.request, speech.sample_rate))


def speak(service: Any, request: SpeechRequest) -> bytes:
    """Speak a request to its end and return the bytes of its file."""

    async def start_and_listen() -> AudioFile:
        return await listen(await service.start(request, is_live=False))

    return asyncio.run(start_and_listen()).data
