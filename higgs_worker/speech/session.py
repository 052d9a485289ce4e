"""One request being spoken: its chunks are generated side by side and heard in order.

As many chunks run as the engine has slots, and no more than twice as many are generated ahead of
the listener. So a text of any length needs bounded memory, requests share the engine, and a
listener who stops listening stops the engine. Chunks are cut to a breath at their edges, brought to
one loudness and joined with pauses.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np

from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import Segment, SpeechResult, Timing, Usage
from higgs_worker.audio import borders, edges, shape
from higgs_worker.audio.pcm import PCM
from higgs_worker.engine.sequence import Prompt, Sampling
from higgs_worker.messages import MAX_QUOTED
from higgs_worker.speech.chunk_runner import ChunkPolicy, ChunkResult, ChunkRunner
from higgs_worker.speech.chunking import Chunk, ChunkPlan
from higgs_worker.speech.conditioning import Conditioning
from higgs_worker.speech.model import LoadedModel
from higgs_worker.speech.seeds import ChunkSeeds
from higgs_worker.text.duration import expected_duration_s, max_duration_s
from higgs_worker.voices.references import Reference


@dataclass(slots=True)
class Clock:
    """When things happened, on `time.perf_counter`, and how long they waited for what."""

    arrived: float
    queue_s: float = 0.0
    load_s: float = 0.0
    first_audio: float = 0.0
    last_audio: float = 0.0


class SpeechSession:
    """Speaks one request; iterate over it once for its PCM.

    Leaving the iteration early cancels what has not been generated.
    """

    def __init__(
        self,
        model: LoadedModel,
        request: SpeechRequest,
        plan: ChunkPlan,
        references: Mapping[str | None, Reference],
        *,
        seed: int,
        clock: Clock,
        is_live: bool,
    ) -> None:
        """Nothing is generated before the iteration starts.

        Args:
            model: what speaks.
            request: how to speak.
            plan: what to speak, in chunks.
            references: the recordings of its speakers, for those who have one.
            seed: decides everything that is drawn.
            clock: since when this request has been under way.
            is_live: whether each piece is wanted as early as possible. Otherwise a chunk is heard
                once it is complete, and judged good or the best of its attempts.
        """
        self.request = request
        self.seed = seed
        self.sample_rate = model.sample_rate
        """Of the PCM, in hertz."""
        self.num_samples = 0
        self.fraction_spoken = 0.0
        """Of the text, by characters, 0 to 1."""
        self._model = model
        self._plan = plan
        self._clock = clock
        self._is_live = is_live
        self._conditioning = Conditioning(
            model.prompts, plan, request.scene, references, num_context=request.context_chunks
        )
        self._free_slots = asyncio.Semaphore(model.engine.num_slots)
        self._chunks: list[Chunk] = []
        """Those that were started; runners and tasks stand at the same index."""
        self._runners: list[ChunkRunner] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._num_chars_spoken = 0
        self._loudness: float | None = None
        """Of the first chunk, in LUFS; the other chunks are brought to it."""
        self._segments: dict[int, Segment] = {}
        """By the index of the sentence."""
        self._warnings: list[str] = []
        self._num_frames = 0
        self._num_text_ids = 0
        self._hit_cap = False

    async def __aiter__(self) -> AsyncGenerator[PCM, None]:
        """Yield the PCM piece by piece; a piece is final.

        Raises:
            NoSound: the model said nothing.
            WorkerError: the request could not be spoken to its end.
        """
        ahead: asyncio.Task[None] | None = None
        try:
            await self._start_chunks(1)
            for index, chunk in enumerate(self._chunks):  # the list grows meanwhile
                num_ahead = index + 2 * self._model.engine.num_slots
                ahead = asyncio.create_task(self._start_chunks(num_ahead))
                async with aclosing(self._hear(index, chunk)) as pieces:
                    async for pcm in pieces:
                        self.num_samples += len(pcm)
                        yield pcm
                await ahead
            if silence := self._samples(self._plan.end_pause_s):
                self.num_samples += silence
                yield np.zeros(silence, np.float32)
        finally:
            tasks = [*self._tasks, *([ahead] if ahead else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def result(self) -> SpeechResult:
        """Describe what was said; call it after the iteration has ended."""
        request, clock = self.request, self._clock
        spoken_s = self.num_samples / self.sample_rate
        started = clock.arrived + clock.queue_s + clock.load_s
        segments = tuple(self._segments.values()) if request.timestamps == "sentence" else ()
        return SpeechResult(
            duration_s=spoken_s / request.speed,
            segments=segments,
            seed=self.seed,
            finish_reason="length" if self._hit_cap else "stop",
            warnings=(*self._model.warnings, *self._warnings),
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
                rtf=(clock.last_audio - started) / spoken_s,
            ),
            model=self._model.info,
        )

    async def _start_chunks(self, num: int) -> None:
        """Start chunks until `num` are under way or the text ends; splits the text as needed."""
        planned = await asyncio.to_thread(self._plan.first, num)
        for index, chunk in enumerate(planned[len(self._chunks) :], len(self._chunks)):
            self._chunks.append(chunk)
            self._conditioning.add(chunk)
            self._runners.append(ChunkRunner(self._model, self._policy(index, chunk)))
            self._tasks.append(asyncio.create_task(self._run_chunk(index)))

    def _policy(self, index: int, chunk: Chunk) -> ChunkPolicy:
        return ChunkPolicy(
            expected_s=expected_duration_s(chunk.words),
            cap_is_ours=self.request.max_duration_s is None,
            retries=self.request.retries,
            may_wait=index > 0,
            is_live=self._is_live,
        )

    async def _run_chunk(self, index: int) -> None:
        """Generate a chunk once the chunks that its prompt quotes are done."""
        for needed in self._conditioning.needs(index):
            await asyncio.wait([self._tasks[needed]])
            if self._runners[needed].result is None:
                return  # the listener meets the error there, and hears nothing after it
        chunk, runner = self._chunks[index], self._runners[index]
        async with self._free_slots:
            try:
                prompt = self._conditioning.prompt(index)
                max_frames = self._max_frames(chunk, prompt)
            except Exception as error:
                runner.fail(error)
                return
            seeds = ChunkSeeds(self.seed, index)
            result = await runner.run(prompt, self._sampling(), seeds, max_frames)
        self._num_text_ids += runner.num_attempts * prompt.num_text_ids
        if result is not None:
            self._conditioning.learn(index, result.codes)
        self._num_chars_spoken += len(chunk.text)
        fraction = self._num_chars_spoken / self._plan.num_chars
        self.fraction_spoken = max(self.fraction_spoken, min(fraction, 1.0))

    def _sampling(self) -> Sampling:
        request = self.request
        return Sampling(
            seed=self.seed,
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            ras_window=request.ras_window,
            ras_max_repeats=request.ras_max_repeats,
        )

    def _max_frames(self, chunk: Chunk, prompt: Prompt) -> int:
        frame_rate = self._model.frame_rate
        if self.request.max_duration_s is not None:
            return round(self.request.max_duration_s * frame_rate)
        # Our own cap may be lowered to what fits; a caller's may not, for audio would be cut off
        # that the caller asked for.
        expected = round(expected_duration_s(chunk.words) * frame_rate)
        cap = round(max_duration_s(chunk.words) * frame_rate)
        return max(expected, min(cap, self._model.engine.max_frames(prompt)))

    async def _hear(self, index: int, chunk: Chunk) -> AsyncGenerator[PCM, None]:
        """Yield a chunk with the silence before it, then record what its result tells."""
        runner = self._runners[index]
        if self._is_live:
            runner.go_live()
        silence = self._samples(chunk.pause_s)
        start = self.num_samples + silence
        heard: list[PCM] = []
        gain = 1.0
        async for pcm in runner.pcm():
            if not heard:
                self._clock.first_audio = self._clock.first_audio or time.perf_counter()
                gain = await asyncio.to_thread(self._gain, runner.result)
                if silence:
                    yield np.zeros(silence, np.float32)
            heard.append(pcm if gain == 1 else pcm * np.float32(gain))
            self._clock.last_audio = time.perf_counter()
            yield heard[-1]
        await asyncio.to_thread(self._record_segments, chunk, np.concatenate(heard), start)
        if runner.result is not None:
            self._record_result(index, runner, runner.result)
            runner.result.pieces.clear()

    def _gain(self, result: ChunkResult | None) -> float:
        # A chunk that is heard before it is complete cannot be measured first.
        if self._loudness is None or result is None:
            return 1.0
        return edges.matching_gain(np.concatenate(result.pieces), self.sample_rate, self._loudness)

    def _record_segments(self, chunk: Chunk, pcm: PCM, start: int) -> None:
        """Record when each sentence of a chunk is heard; the chunk begins at sample `start`."""
        if self._loudness is None:
            self._loudness = shape.loudness_lufs(pcm, self.sample_rate)
        lengths = [expected_duration_s(part.text) for part in chunk.parts]
        inner = borders.align(pcm, self.sample_rate, lengths)
        marks = [start, *(start + border for border in inner), start + len(pcm)]
        scale = 1 / (self.sample_rate * self.request.speed)
        for part, begin, end in zip(chunk.parts, marks[:-1], marks[1:], strict=True):
            if part.sentence in self._segments:
                # The sentence began in an earlier chunk.
                earlier = self._segments[part.sentence]
                self._segments[part.sentence] = replace(earlier, end_s=end * scale)
                continue
            sentence = self._plan.sentences[part.sentence]
            self._segments[part.sentence] = Segment(
                text=sentence.text,
                speaker=sentence.speaker,
                start_s=begin * scale,
                end_s=end * scale,
                spoken=sentence.spoken if sentence.spoken != sentence.text else None,
            )

    def _record_result(self, index: int, runner: ChunkRunner, kept: ChunkResult) -> None:
        self._num_frames += len(kept.codes)
        self._hit_cap = self._hit_cap or kept.hit_cap
        if index == 0:
            self._clock.queue_s += kept.queue_s
        quoted = f"{self._chunks[index].text.strip()[:MAX_QUOTED]!r}"
        where = f"chunk {index + 1} ({quoted} …)" if len(self._chunks) > 1 else "the speech"
        num = runner.num_attempts
        if kept.faults:
            wrong = " and ".join(fault.sentence for fault in kept.faults)
            attempts = f"{num} attempts" if num > 1 else "one attempt"
            self._warnings.append(
                f"{where} sounds wrong: {wrong}; this was the best of {attempts}. Another seed, a "
                "lower temperature or more retries may help"
            )
        elif num > 1:
            self._warnings.append(f"{where} sounded wrong and was spoken again, with success")

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.sample_rate)
