"""One request being spoken: text to prompt, engine, codec, and PCM as it comes.

Frames go from the engine's thread to the codec's and PCM from there to the event loop, so nothing
here waits for a whole. Knows no job, no HTTP and no encoding.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from higgs_worker import quality
from higgs_worker.audio import encode
from higgs_worker.engine.sequence import Sampling, Submission
from higgs_worker.errors import InternalError, NoSound, WorkerError
from higgs_worker.references import Reference, References
from higgs_worker.result import ModelInfo, Segment, SpeechResult, Timing, Usage
from higgs_worker.schema import SpeechRequest

if TYPE_CHECKING:
    from higgs_worker.codec.thread import CodecThread
    from higgs_worker.engine.engine import Engine
    from higgs_worker.prompt import PromptBuilder

PCM = NDArray[np.float32]
"""[S], mono, nominally in [-1, 1]."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A loaded model: everything that turns text into sound."""

    prompts: "PromptBuilder"
    engine: "Engine"
    codec: "CodecThread"
    references: References
    sample_rate: int
    frame_rate: int
    info: ModelInfo
    warnings: tuple[str, ...] = ()
    """What every listener to this model should know."""


@dataclass(slots=True)
class Clock:
    """When things happened, on `time.perf_counter`, and what they waited for."""

    arrived: float
    queue_s: float = 0.0
    load_s: float = 0.0
    first_audio: float = 0.0
    last_audio: float = 0.0


class Speech:
    """Speaks one request; iterate over it once to hear it.

    Leaving the iteration early cancels what has not been generated.
    """

    def __init__(
        self,
        speaker: Speaker,
        request: SpeechRequest,
        seed: int,
        clock: Clock,
        reference: Reference | None = None,
    ) -> None:
        """Queue the request.

        Raises:
            WorkerError: the engine does not take it.
        """
        self.speaker = speaker
        self.request = request
        self.seed = seed
        self.clock = clock
        self.num_samples = 0
        self._submission = _submission(speaker, request, seed, reference)
        self._ear = _Ear(asyncio.get_running_loop())
        self._stream = speaker.codec.open(self._ear)
        try:
            self._handle = speaker.engine.submit(
                self._submission,
                on_frames=partial(speaker.codec.feed, self._stream),
                num_first_frames=speaker.codec.num_first_frames,
            )
        except WorkerError:
            speaker.codec.drop(self._stream)
            raise
        self._handle.when_done(self._on_generated)

    def _on_generated(self, error: WorkerError | None) -> None:
        """In the engine's thread: no more frames will come."""
        if error is None:
            self.speaker.codec.finish(self._stream)
        else:
            self.speaker.codec.drop(self._stream)
            self._ear.on_end(error)

    async def __aiter__(self) -> AsyncGenerator[PCM, None]:
        """Give the PCM piece by piece, each final.

        Raises:
            NoSound: the model ended before it said anything.
            WorkerError: it could not be spoken to its end.
        """
        try:
            while (pcm := await self._ear.next()) is not None:
                self.clock.last_audio = time.perf_counter()
                self.clock.first_audio = self.clock.first_audio or self.clock.last_audio
                self.num_samples += len(pcm)
                yield pcm
        finally:
            # Both do nothing when all has been said.
            self._handle.cancel()
            self.speaker.codec.drop(self._stream)
        if not self.num_samples:
            raise NoSound(
                f"the model ended before it said anything (seed {self.seed}); send another seed, "
                "or a longer text"
            )

    def result(self, audio: bytes) -> SpeechResult:
        """Describe what was said, once it has been said, with its encoded form."""
        request, clock = self.request, self.clock
        generation = self._handle.result(0)
        spoken_s = self.num_samples / self.speaker.sample_rate
        duration_s = spoken_s / request.speed
        begun = clock.arrived + clock.queue_s + clock.load_s + generation.queue_s
        return SpeechResult(
            audio=audio,
            format=request.format,
            sample_rate=encode.encoded_rate(request.format, request.sample_rate),
            channels=1,
            duration_s=duration_s,
            segments=(Segment(request.text, None, 0.0, duration_s),),
            seed=self.seed,
            finish_reason=generation.finish_reason,
            warnings=self.speaker.warnings,
            usage=Usage(
                text_tokens=self._submission.prompt.num_text_ids,
                audio_frames=len(generation.codes),
                characters=len(request.text),
            ),
            timing=Timing(
                queue_s=clock.queue_s + generation.queue_s,
                load_s=clock.load_s,
                first_audio_s=clock.first_audio - clock.arrived,
                total_s=time.perf_counter() - clock.arrived,
                rtf=(clock.last_audio - begun) / spoken_s,
            ),
            model=self.speaker.info,
        )


class _Ear:
    """Carries PCM from the codec's thread into an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heard: asyncio.Queue[PCM | Exception | None] = asyncio.Queue()

    def on_pcm(self, pcm: PCM) -> None:
        """Take the next samples, in any thread."""
        self._put(pcm)

    def on_end(self, error: Exception | None) -> None:
        """Take the end, in any thread."""
        self._put(error)

    async def next(self) -> PCM | None:
        """Wait for the next samples; None: it is complete."""
        item = await self._heard.get()
        if isinstance(item, WorkerError):
            raise item
        if isinstance(item, Exception):
            raise InternalError("the codec failed; send this again") from item
        return item

    def _put(self, item: PCM | Exception | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._heard.put_nowait, item)
        except RuntimeError:
            # The loop is closed: whoever listened is gone.
            return


def _submission(
    speaker: Speaker, request: SpeechRequest, seed: int, reference: Reference | None
) -> Submission:
    if reference is None:
        prompt = speaker.prompts.speech(request.text, request.scene)
    else:
        prompt = speaker.prompts.clone(
            request.text,
            request.scene,
            reference_text=reference.text,
            reference_codes=reference.codes,
        )
    wished_s = request.max_duration_s
    if wished_s is None:
        # Our own cap may be cut to what fits, a caller's may not: it would be cut off unasked.
        room = speaker.engine.max_frames(prompt)
        expected = round(quality.expected_duration_s(request.text) * speaker.frame_rate)
        cap = round(quality.max_duration_s(request.text) * speaker.frame_rate)
        max_frames = max(expected, min(cap, room))
    else:
        max_frames = round(wished_s * speaker.frame_rate)
    sampling = Sampling(
        seed=seed,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        ras_window=request.ras_window,
        ras_max_repeats=request.ras_max_repeats,
    )
    return Submission(prompt, sampling, max_frames)
