"""One request being spoken: its chunks are generated side by side and heard in order.

As many chunks run as the engine has slots, and no more than twice as many are generated ahead of
the listener. So a text of any length needs bounded memory, requests share the engine, and a
listener who stops listening stops the engine. Chunks are cut to a breath at their edges, brought to
one loudness and joined with pauses, up to the caller's limit of length.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

import numpy as np

from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import ModelInfo, SegmentUpdate, SpeechResult, Usage
from higgs_worker.audio import edges, shape
from higgs_worker.audio.pcm import PCM
from higgs_worker.engine.sequence import Prompt, Sampling
from higgs_worker.messages import MAX_QUOTED
from higgs_worker.metrics.worker_metrics import WorkerMetrics
from higgs_worker.speech.chunk_runner import ChunkPolicy, ChunkResult, ChunkRunner
from higgs_worker.speech.chunking import Chunk, ChunkPlan
from higgs_worker.speech.clock import Clock
from higgs_worker.speech.conditioning import Conditioning
from higgs_worker.speech.limit import AudioLimit
from higgs_worker.speech.model import LoadedModel
from higgs_worker.speech.seeds import ChunkSeeds
from higgs_worker.speech.simulated_listener import SimulatedListener
from higgs_worker.speech.timeline import Timeline
from higgs_worker.text.duration import expected_duration_s, max_duration_s
from higgs_worker.voices.continuity import Continuity
from higgs_worker.voices.references import Reference

FAST = 0.5
"""Share of its expected length that a chunk takes at least, spoken as fast as people speak."""


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
        metrics: WorkerMetrics,
        continuity: Continuity | None = None,
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
            metrics: of the worker.
            continuity: of the conversation that this request goes on with, and adds to.
        """
        self.request = request
        self.seed = seed
        self.sample_rate = model.sample_rate
        """Of the PCM, in hertz."""
        self.fraction_spoken = 0.0
        """Of the text, by characters, 0 to 1."""
        self._model = model
        self._plan = plan
        self._clock = clock
        self._is_live = is_live
        self._metrics = metrics
        self._conditioning = Conditioning(
            model.prompts, plan, request.scene, references, num_context=request.context_chunks
        )
        self._limit = AudioLimit.of(request, model.sample_rate)
        self._hop = model.sample_rate // model.frame_rate
        """Samples of a frame."""
        self._free_slots = asyncio.Semaphore(model.engine.num_slots)
        self._chunks: list[Chunk] = []
        """Those that were started; runners and tasks stand at the same index."""
        self._runners: list[ChunkRunner] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._num_heard = 0
        """Chunks that were heard to their end."""
        self._num_silent = 0
        """Samples of the pauses before the chunks that were started."""
        self._least_s = 0.0
        """What those chunks take at least, pauses included."""
        self._num_chars_spoken = 0
        self._continuity = continuity or Continuity()
        self._timeline = Timeline(plan, model.sample_rate, request.speed)
        voices = (warning for each in references.values() for warning in each.warnings)
        self._warnings: list[str] = list(dict.fromkeys(voices))
        self._num_frames = 0
        self._num_text_ids = 0
        self._hit_cap = False

    @property
    def model(self) -> ModelInfo:
        """Which weights speak."""
        return self._model.info

    @property
    def num_samples(self) -> int:
        """How many samples were given out so far."""
        return self._limit.num_taken

    async def __aiter__(self) -> AsyncGenerator[PCM, None]:
        """Yield the PCM piece by piece; a piece is final.

        Raises:
            NoSound: the model said nothing.
            WorkerError: the request could not be spoken to its end.
        """
        listener = SimulatedListener(self.sample_rate * self.request.speed)
        async with aclosing(self._speak()) as pieces:
            async for pcm in pieces:
                self._record_given(listener, len(pcm))
                yield pcm
                listener.ask(time.perf_counter())
        self._record_success()

    async def _speak(self) -> AsyncGenerator[PCM, None]:
        ahead: asyncio.Task[None] | None = None
        try:
            await self.prepare()
            for index, chunk in enumerate(self._chunks):  # the list grows meanwhile
                num_ahead = index + 2 * self._model.engine.num_slots
                ahead = asyncio.create_task(self._start_chunks(num_ahead))
                async with aclosing(self._hear(index, chunk)) as pieces:
                    async for pcm in pieces:
                        yield pcm
                if self._limit.is_reached:
                    break
                await ahead
                self._num_heard += 1
                if self._num_heard == len(self._chunks):
                    await self._start_chunks(self._num_heard + 1)
            else:
                if len(final := self._limit.pass_on(self._silence(self._plan.end_pause_s))):
                    yield final
            self._timeline.finish()
            if len(held := self._limit.finish()):
                yield held
        finally:
            # All before the first wait: whoever ends this may be ended at any of them.
            tasks = [*self._tasks, *([ahead] if ahead else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def prepare(self) -> None:
        """Begin to generate before anybody listens; without an iteration, `cancel` must follow."""
        await self._start_chunks(1)
        self._continuity.has_begun = True

    def cancel(self) -> None:
        """Cancel what has not been generated."""
        for task in self._tasks:
            task.cancel()

    def take_segments(self) -> Sequence[SegmentUpdate]:
        """Return the segments whose times became known, or better, since the last call."""
        return self._timeline.take_news() if self.request.timestamps == "sentence" else ()

    def result(self) -> SpeechResult:
        """Describe what was said; call it after the iteration has ended."""
        request, spoken_s = self.request, self.num_samples / self.sample_rate
        is_cut = self._hit_cap or self._limit.is_reached
        return SpeechResult(
            duration_s=spoken_s / request.speed,
            segments=self._timeline.segments if request.timestamps == "sentence" else (),
            seed=self.seed,
            finish_reason="length" if is_cut else "stop",
            warnings=(*self._model.warnings, *self._plan.warnings, *self._warnings),
            usage=Usage(
                text_tokens=self._num_text_ids,
                audio_frames=self._num_frames,
                characters=len(request.text),
            ),
            timing=self._clock.timing(spoken_s),
            model=self._model.info,
        )

    async def _start_chunks(self, num: int) -> None:
        """Start chunks until `num` are under way or the text ends; splits the text as needed.

        A chunk that begins beyond the caller's limit, as far as anybody can tell, waits for its
        turn.
        """
        planned = await asyncio.to_thread(self._plan.first, num)
        for index, chunk in enumerate(planned[len(self._chunks) :], len(self._chunks)):
            is_next = index == self._num_heard
            if not is_next and self._samples(self._least_s) >= self._limit.max_samples:
                return
            self._chunks.append(chunk)
            self._conditioning.add(chunk)
            policy = self._policy(index, chunk)
            self._least_s += chunk.pause_s + FAST * policy.expected_s
            self._runners.append(ChunkRunner(self._model, policy, self._metrics))
            self._tasks.append(asyncio.create_task(self._run_chunk(index)))

    def _policy(self, index: int, chunk: Chunk) -> ChunkPolicy:
        # Known beforehand are the pauses alone. A cap that followed from what was spoken so far
        # would depend on what happened to be done, and equal requests would sound different.
        self._num_silent += self._samples(chunk.pause_s)
        num_left = self._limit.max_samples - self._num_silent
        return ChunkPolicy(
            expected_s=expected_duration_s(chunk.words),
            max_frames=max(0, num_left // self._hop),
            retries=self.request.retries,
            may_wait=index > 0 or self._continuity.has_begun,
            is_live=self._is_live,
        )

    async def _run_chunk(self, index: int) -> None:
        """Generate a chunk once the chunks that its prompt quotes are done."""
        for needed in self._conditioning.needs(index):
            await asyncio.wait([self._tasks[needed]])
            if self._runners[needed].result is None:
                return  # the listener meets the error there, and hears nothing after it
        chunk, runner = self._chunks[index], self._runners[index]
        if not runner.policy.max_frames:
            return  # not a frame of it would be heard
        async with self._free_slots:
            try:
                prompt = self._conditioning.prompt(index)
                max_frames = min(runner.policy.max_frames, self._max_frames(chunk, prompt))
            except Exception as error:
                runner.fail(error)
                return
            seeds = ChunkSeeds(self.seed, index)
            result = await runner.run(prompt, self._sampling(), seeds, max_frames)
        if result is not None:
            self._conditioning.learn(index, result.codes)
            role = self._plan.roles.get(chunk.speaker)
            if role is not None and not role.has_recording:
                self._continuity.learn(chunk.speaker, chunk.text, result.codes)
        self._num_chars_spoken += len(chunk.text)
        fraction = self._num_chars_spoken / self._plan.num_chars
        self.fraction_spoken = max(self.fraction_spoken, min(fraction, 1.0))

    def _sampling(self) -> Sampling:
        request, ras = self.request, self._model.ras
        window, max_repeats = request.ras_window, request.ras_max_repeats
        return Sampling(
            seed=self.seed,
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            ras_window=ras.window if window is None else window,
            ras_max_repeats=ras.max_repeats if max_repeats is None else max_repeats,
        )

    def _max_frames(self, chunk: Chunk, prompt: Prompt) -> int:
        """Return the cap on a chunk's length where the caller's limit does not end it first.

        It follows from the text if the caller has no limit, and is lowered to what fits into a
        slot, as long as the text can be expected to fit.
        """
        fits = self._model.engine.max_frames(prompt)
        if self.request.max_duration_s is None:
            fits = min(fits, round(max_duration_s(chunk.words) * self._model.frame_rate))
        return max(fits, round(expected_duration_s(chunk.words) * self._model.frame_rate))

    async def _hear(self, index: int, chunk: Chunk) -> AsyncGenerator[PCM, None]:
        """Yield a chunk with the silence before it, then record what was heard of it."""
        runner, silence = self._runners[index], self._silence(chunk.pause_s)
        if len(silence) + self._hop > self._limit.num_left:
            if len(final := self._limit.pass_on(silence)):
                yield final
            self._limit.end()
            return
        if self._is_live:
            runner.go_live()
        start = self._limit.num_taken + len(silence)
        heard: list[PCM] = []
        gain = 1.0
        async with aclosing(runner.pcm()) as pieces:
            async for pcm in pieces:
                if not heard:
                    self._clock.first_audio = self._clock.first_audio or time.perf_counter()
                    gain = await asyncio.to_thread(self._gain, runner.result)
                    self._timeline.expect(chunk, (start, self._limit.max_samples))
                    if len(final := self._limit.pass_on(silence)):
                        yield final
                heard.append(pcm if gain == 1 else pcm * np.float32(gain))
                self._clock.last_audio = time.perf_counter()
                if len(final := self._limit.pass_on(heard[-1])):
                    yield final
                if self._limit.is_reached:
                    break
        await asyncio.to_thread(self._record_sound, chunk, runner.result, heard, start)
        self._num_text_ids += runner.num_text_ids
        if self._limit.is_reached:
            self._num_frames += math.ceil((self._limit.num_taken - start) / self._hop)
        elif runner.result is not None:
            self._num_frames += len(runner.result.codes)
        if runner.result is not None:
            self._record_result(index, runner, runner.result)
            runner.result.pieces.clear()

    def _gain(self, result: ChunkResult | None) -> float:
        # A chunk that is heard before it is complete cannot be measured first.
        loudness = self._continuity.loudness_lufs
        if loudness is None or result is None:
            return 1.0
        return edges.matching_gain(np.concatenate(result.pieces), self.sample_rate, loudness)

    def _record_sound(
        self, chunk: Chunk, kept: ChunkResult | None, heard: list[PCM], start: int
    ) -> None:
        """Record when a chunk that begins at sample `start` is heard, and how loud the first is."""
        pcm = np.concatenate(heard if kept is None else kept.pieces)
        if self._continuity.loudness_lufs is None:
            self._continuity.loudness_lufs = shape.loudness_lufs(pcm, self.sample_rate)
        span = (start, self._limit.num_taken)
        is_whole = kept is not None and not kept.is_cut
        self._timeline.add(chunk, pcm, span, is_whole=is_whole)

    def _record_result(self, index: int, runner: ChunkRunner, kept: ChunkResult) -> None:
        self._hit_cap = self._hit_cap or kept.hit_cap
        if kept.is_cut:
            self._limit.end()
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

    def _record_given(self, listener: SimulatedListener, num_samples: int) -> None:
        """Record PCM that its listener gets now."""
        metrics, clock = self._metrics, self._clock
        if not listener.has_begun:
            mode = "live" if self._is_live else "whole"
            metrics.first_audio.record(clock.first_audio - clock.arrived, mode)
        dry_s = listener.give(num_samples, time.perf_counter())
        if dry_s and self._is_live:
            metrics.underruns.add()
            metrics.underrun_seconds.add(amount=dry_s)
        metrics.audio.add(amount=num_samples / listener.sample_rate)

    def _record_success(self) -> None:
        result, metrics = self.result(), self._metrics
        metrics.queue.record(result.timing.queue_s)
        metrics.load_wait.record(result.timing.load_s)
        metrics.rtf.record(result.timing.rtf)
        metrics.characters.add(amount=result.usage.characters)
        metrics.cold_start.spoke(self._clock.arrived, result.timing.first_audio_s)

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.sample_rate)

    def _silence(self, seconds: float) -> PCM:
        return np.zeros(self._samples(seconds), np.float32)
