"""One request in, one result out: the order of work between text, engine, codec and audio.

Loads the model on the first request, once, and off the event loop. Knows no job, no HTTP and no
platform; whoever calls it validated the request.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from higgs_worker import audio, quality
from higgs_worker.engine.sequence import Codes, Sampling, Submission
from higgs_worker.errors import NoSound
from higgs_worker.schema import (
    ModelInfo,
    Segment,
    SpeechRequest,
    SpeechResult,
    Timing,
    Usage,
)

if TYPE_CHECKING:
    from higgs_worker.engine.engine import Engine
    from higgs_worker.prompt import PromptBuilder


@dataclass(frozen=True, slots=True)
class Speaker:
    """A loaded model: everything that turns text into sound."""

    prompts: "PromptBuilder"
    engine: "Engine"
    decode: Callable[[Codes], NDArray[np.float32]]
    """Codes [F, K] -> PCM [S] at `sample_rate`."""
    sample_rate: int
    frame_rate: int
    info: ModelInfo
    warnings: tuple[str, ...] = ()
    """What every listener to this model should know."""


class SpeechService:
    """Speaks requests, as many at once as there are slots; further ones wait in the engine."""

    def __init__(self, load: Callable[[], Speaker]) -> None:
        self._load = load
        self._speaker: Speaker | None = None
        self._loading = asyncio.Lock()

    async def speak(self, request: SpeechRequest) -> SpeechResult:
        """Speak one request.

        Raises:
            WorkerError: with a code and a sentence for the caller.
        """
        arrived = time.perf_counter()
        async with self._loading:
            started = time.perf_counter()
            if self._speaker is None:
                self._speaker = await asyncio.to_thread(self._load)
        loaded = time.perf_counter()
        speaker = self._speaker
        seed = secrets.randbelow(2**63) if request.seed is None else request.seed
        submission = _submission(speaker, request, seed)
        generation = await speaker.engine.submit(submission).wait()
        if not len(generation.codes):
            raise NoSound(
                f"the model ended before it said anything (seed {seed}); send another seed, or a "
                "longer text"
            )
        pcm = await asyncio.to_thread(speaker.decode, generation.codes)
        spoken = time.perf_counter()
        duration_s = len(pcm) / speaker.sample_rate
        return SpeechResult(
            audio=await asyncio.to_thread(audio.encode_wav, pcm, speaker.sample_rate),
            format="wav",
            sample_rate=speaker.sample_rate,
            channels=1,
            duration_s=duration_s,
            segments=(Segment(request.text, None, 0.0, duration_s),),
            seed=seed,
            finish_reason=generation.finish_reason,
            warnings=speaker.warnings,
            usage=Usage(
                text_tokens=submission.prompt.num_text_ids,
                audio_frames=len(generation.codes),
                characters=len(request.text),
            ),
            timing=Timing(
                queue_s=started - arrived + generation.queue_s,
                load_s=loaded - started,
                first_audio_s=spoken - arrived,
                total_s=time.perf_counter() - arrived,
                rtf=(spoken - loaded - generation.queue_s) / duration_s,
            ),
            model=speaker.info,
        )


def _submission(speaker: Speaker, request: SpeechRequest, seed: int) -> Submission:
    prompt = speaker.prompts.speech(request.text, request.scene)
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
