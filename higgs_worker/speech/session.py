"""One request being spoken: its chunks side by side in the engine, heard in order.

As many chunks are under way as there are slots, and no more than twice as many are spoken ahead of
the listener; so a text of any length needs bounded memory, requests come between each other's
chunks, and a listener who stops listening stops the engine. Chunks are joined with pauses,
cut to a breath at their edges and brought to one loudness. Knows no job, no HTTP and no encoding.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import ModelInfo, Segment, SpeechResult, Timing, Usage
from higgs_worker.audio import borders, edges, encode, shape
from higgs_worker.engine.sequence import Sampling, Submission
from higgs_worker.speech.attempt import PCM, Attempt
from higgs_worker.speech.chunk_runner import ChunkPolicy, ChunkResult, ChunkRunner
from higgs_worker.speech.chunking import Chunk, ChunkPlan
from higgs_worker.speech.conditioning import Conditioning
from higgs_worker.text.duration import expected_duration_s, max_duration_s
from higgs_worker.voices.references import Reference, References

if TYPE_CHECKING:
    from higgs_worker.codec.thread import CodecThread
    from higgs_worker.engine.engine import Engine
    from higgs_worker.speech.prompt import PromptBuilder

_MAX_QUOTED = 40


@dataclass(frozen=True, slots=True)
class LoadedModel:
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


class SpeechSession:
    """Speaks one request; iterate over it once to hear it.

    Leaving the iteration early cancels what has not been generated.
    """

    def __init__(
        self,
        speaker: LoadedModel,
        request: SpeechRequest,
        script: ChunkPlan,
        references: Mapping[str | None, Reference],
        *,
        seed: int,
        clock: Clock,
        is_live: bool,
    ) -> None:
        """Prepare to speak; nothing is generated before somebody listens.

        Args:
            speaker: the model.
            request: how it is to be spoken.
            script: what is to be spoken.
            references: the recordings of its speakers, for those who have one.
            seed: decides all that is drawn.
            clock: since when this request is under way.
            is_live: whether each piece is wanted as early as can be; else a chunk is heard when
                it is complete, and found good or as good as it gets.
        """
        self.speaker = speaker
        self.request = request
        self.seed = seed
        self.clock = clock
        self.num_samples = 0
        self.fraction_spoken = 0.0
        """Of the text, in characters."""
        self._script = script
        self._is_live = is_live
        self._cast = Conditioning(
            speaker.prompts, script, request.scene, references, num_context=request.context_chunks
        )
        self._room = asyncio.Semaphore(speaker.engine.num_slots)
        self._chunks: list[Chunk] = []
        """Those that were begun."""
        self._utterances: list[ChunkRunner] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._num_chars_spoken = 0
        self._loudness: float | None = None
        """Of the first chunk; the others are brought to it."""
        self._segments: dict[int, Segment] = {}
        """By sentence."""
        self._warnings: list[str] = []
        self._num_frames = 0
        self._num_text_ids = 0
        self._hit_cap = False

    async def __aiter__(self) -> AsyncGenerator[PCM, None]:
        """Give the PCM piece by piece, each final.

        Raises:
            NoSound: the model said nothing.
            WorkerError: it could not be spoken to its end.
        """
        try:
            await self._begin(1)
            for index, chunk in enumerate(self._chunks):  # grows meanwhile
                ahead = asyncio.create_task(self._begin(index + 2 * self.speaker.engine.num_slots))
                self._tasks.append(ahead)
                async with aclosing(self._hear(index, chunk)) as pieces:
                    async for pcm in pieces:
                        self.num_samples += len(pcm)
                        yield pcm
                await ahead
            if silence := self._samples(self._script.end_pause_s):
                self.num_samples += silence
                yield np.zeros(silence, np.float32)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def result(self, audio: bytes) -> SpeechResult:
        """Describe what was said, once it has been said, with its encoded form."""
        request, clock = self.request, self.clock
        spoken_s = self.num_samples / self.speaker.sample_rate
        begun = clock.arrived + clock.queue_s + clock.load_s
        segments = tuple(self._segments.values()) if request.timestamps == "sentence" else ()
        return SpeechResult(
            audio=audio,
            format=request.format,
            sample_rate=encode.encoded_rate(request.format, request.sample_rate),
            channels=1,
            duration_s=spoken_s / request.speed,
            segments=segments,
            seed=self.seed,
            finish_reason="length" if self._hit_cap else "stop",
            warnings=(*self.speaker.warnings, *self._warnings),
            usage=Usage(
                text_tokens=self._num_text_ids,
                audio_frames=self._num_frames,
                characters=len(request.text),
            ),
            timing=Timing(
                queue_s=clock.queue_s,
                load_s=clock.load_s,
                first_audio_s=clock.first_audio - clock.arrived,
                total_s=time.perf_counter() - clock.arrived,
                rtf=(clock.last_audio - begun) / spoken_s,
            ),
            model=self.speaker.info,
        )

    async def _begin(self, num: int) -> None:
        """Have so many chunks begun, as far as there are so many; writes them meanwhile."""
        written = await asyncio.to_thread(self._script.first, num)
        for index, chunk in enumerate(written[len(self._chunks) :], len(self._chunks)):
            self._chunks.append(chunk)
            self._cast.enter(chunk)
            self._utterances.append(self._utterance(index))
            self._tasks.append(asyncio.create_task(self._speak(index)))

    def _utterance(self, index: int) -> ChunkRunner:
        request = self.request
        standard = ChunkPolicy(
            sample_rate=self.speaker.sample_rate,
            frame_rate=self.speaker.frame_rate,
            expected_s=expected_duration_s(self._chunks[index].words),
            cap_is_ours=request.max_duration_s is None,
            retries=request.retries,
        )
        return ChunkRunner(lambda n: self._take(index, n), standard, may_wait=index > 0)

    async def _speak(self, index: int) -> None:
        for needed in self._cast.needs(index):
            await self._utterances[needed].is_done.wait()
            if self._utterances[needed].outcome is None:
                return  # whoever listens is told there, and hears nothing beyond
        chunk, utterance = self._chunks[index], self._utterances[index]
        async with self._room:
            await utterance.speak(then=lambda kept: self._cast.learn(index, kept.codes))
        self._num_chars_spoken += len(chunk.text)
        fraction = self._num_chars_spoken / self._script.num_chars
        self.fraction_spoken = max(self.fraction_spoken, min(fraction, 1.0))

    def _take(self, index: int, number: int) -> Attempt:
        """Begin to speak a chunk.

        Raises:
            WorkerError: the engine does not take it.
        """
        speaker, request = self.speaker, self.request
        prompt = self._cast.prompt(index)
        if request.max_duration_s is None:
            # Our own cap may be cut to what fits, a caller's may not: it would be cut off unasked.
            words = self._chunks[index].words
            expected = round(expected_duration_s(words) * speaker.frame_rate)
            cap = round(max_duration_s(words) * speaker.frame_rate)
            max_frames = max(expected, min(cap, speaker.engine.max_frames(prompt)))
        else:
            max_frames = round(request.max_duration_s * speaker.frame_rate)
        sampling = Sampling(
            seed=_seed(self.seed, index, number),
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            ras_window=request.ras_window,
            ras_max_repeats=request.ras_max_repeats,
        )
        submission = Submission(prompt, sampling, max_frames)
        take = Attempt(speaker.engine, speaker.codec, submission, is_live=self._is_live)
        self._num_text_ids += prompt.num_text_ids
        return take

    async def _hear(self, index: int, chunk: Chunk) -> AsyncGenerator[PCM, None]:
        """Give a chunk with the silence before it, and note what there is to say about it."""
        utterance = self._utterances[index]
        if self._is_live:
            utterance.give_turn()
        silence = self._samples(chunk.pause_s)
        begun = self.num_samples + silence
        heard: list[PCM] = []
        gain = 1.0
        async for pcm in utterance.heard():
            if not heard:
                self.clock.first_audio = self.clock.first_audio or time.perf_counter()
                gain = await asyncio.to_thread(self._gain, utterance)
                if silence:
                    yield np.zeros(silence, np.float32)
            heard.append(pcm if gain == 1 else pcm * np.float32(gain))
            self.clock.last_audio = time.perf_counter()
            yield heard[-1]
        await asyncio.to_thread(self._note, chunk, np.concatenate(heard), begun)
        if utterance.outcome is not None:
            self._report(index, utterance, utterance.outcome)
            utterance.outcome.pcm.clear()

    def _gain(self, utterance: ChunkRunner) -> float:
        # What is passed on before it is complete cannot be measured first.
        if self._loudness is None or utterance.outcome is None or utterance.was_heard_early:
            return 1.0
        whole = np.concatenate(utterance.outcome.pcm)
        return edges.matching_gain(whole, self.speaker.sample_rate, self._loudness)

    def _note(self, chunk: Chunk, pcm: PCM, begun: int) -> None:
        """Note when each sentence of a chunk is heard, from sample `begun` on."""
        rate = self.speaker.sample_rate
        if self._loudness is None:
            self._loudness = shape.loudness_lufs(pcm, rate)
        lengths = [expected_duration_s(share.text) for share in chunk.shares]
        inner = borders.align(pcm, rate, lengths)
        bounds = [begun, *(begun + border for border in inner), begun + len(pcm)]
        scale = 1 / (rate * self.request.speed)
        for share, start, end in zip(chunk.shares, bounds[:-1], bounds[1:], strict=True):
            if share.sentence in self._segments:
                # The sentence began in an earlier chunk.
                earlier = self._segments[share.sentence]
                self._segments[share.sentence] = replace(earlier, end_s=end * scale)
                continue
            sentence = self._script.sentences[share.sentence]
            self._segments[share.sentence] = Segment(
                text=sentence.text,
                speaker=sentence.speaker,
                start_s=start * scale,
                end_s=end * scale,
                spoken=sentence.spoken if sentence.spoken != sentence.text else None,
            )

    def _report(self, index: int, utterance: ChunkRunner, kept: ChunkResult) -> None:
        self._num_frames += len(kept.codes)
        self._hit_cap = self._hit_cap or kept.hit_cap
        if index == 0:
            self.clock.queue_s += kept.queue_s
        chunk = self._chunks[index]
        begins = f"{chunk.text.strip()[:_MAX_QUOTED]!r}"
        where = f"chunk {index + 1} ({begins} …)" if len(self._chunks) > 1 else "the speech"
        if kept.faults:
            wrong = " and ".join(fault.sentence for fault in kept.faults)
            takes = f"{utterance.num_takes} takes" if utterance.num_takes > 1 else "one take"
            self._warnings.append(
                f"{where} sounds wrong: {wrong}; this was the best of {takes}. Another seed, a "
                "lower temperature or more retries may help"
            )
        elif utterance.num_takes > 1:
            self._warnings.append(f"{where} sounded wrong and was spoken again, with success")

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.speaker.sample_rate)


def _seed(seed: int, index: int, number: int) -> int:
    """Give the seed of a take; the request's own for the first of the first chunk."""
    if not index and not number:
        return seed
    name = f"{seed}/{index}/{number}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1
