"""One chunk of text until its speech is good enough: attempts, each judged, the best one kept.

A chunk passes through three states. WAITING: attempts run, nobody hears them, and a bad one is
repeated with another seed. LIVE: the listener has reached the chunk and gets PCM as it comes; once
it has read a piece, the present attempt is final, because sound that was heard cannot be taken
back. DONE: an attempt is kept (or an error), and the rest of it can be read.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np

from higgs_worker.audio.edges import Edges
from higgs_worker.audio.pcm import PCM
from higgs_worker.engine.sequence import Codes, Prompt, Sampling, Submission
from higgs_worker.errors import EngineFailed, InternalError, NoSound, QueueFull, WorkerError
from higgs_worker.logs import frames_of
from higgs_worker.metrics.worker_metrics import WorkerMetrics
from higgs_worker.speech import quality
from higgs_worker.speech.attempt import Attempt
from higgs_worker.speech.model import LoadedModel
from higgs_worker.speech.quality import AttemptAudio, SpeechFault
from higgs_worker.speech.seeds import ChunkSeeds

RESUBMIT_S = 0.2
"""Pause before a full queue is tried again."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChunkPolicy:
    """How the attempts at a chunk are made and judged."""

    expected_s: float
    """How long the text should take to speak."""
    max_frames: int
    """What the caller's limit leaves for the chunk. To reach it is no fault; an earlier cap is."""
    retries: int
    may_wait: bool
    """Whether a full queue is waited for. The first chunk of a request is refused instead."""
    is_live: bool
    """Whether PCM is wanted as early as possible."""


@dataclass(frozen=True, slots=True, eq=False)
class ChunkResult:
    """The attempt that is kept."""

    pieces: list[PCM]
    codes: Codes
    hit_cap: bool
    is_cut: bool
    """Whether the caller's limit ended it."""
    queue_s: float
    faults: list[SpeechFault]

    @property
    def weight(self) -> float:
        """How bad it is; 0 is good."""
        return sum(fault.weight for fault in self.faults)


class _State(Enum):
    WAITING = auto()
    LIVE = auto()
    DONE = auto()


class ChunkRunner:
    """Generates one chunk: one task calls `run`, another iterates over `pcm`."""

    def __init__(self, model: LoadedModel, policy: ChunkPolicy, metrics: WorkerMetrics) -> None:
        self._model = model
        self._metrics = metrics
        self.policy = policy
        self._state = _State.WAITING
        self._changed = asyncio.Event()
        self._pieces: list[PCM] = []
        """Of the present attempt; of the kept one when DONE."""
        self._num_read = 0
        """Pieces that the listener has read."""
        self._error: WorkerError | None = None
        self.num_attempts = 0
        self.num_text_ids = 0
        """Of the prompts of all attempts."""
        self.result: ChunkResult | None = None

    def go_live(self) -> None:
        """Let the listener read the present attempt while it is generated."""
        if self._state is _State.WAITING:
            self._enter(_State.LIVE)

    async def pcm(self) -> AsyncGenerator[PCM, None]:
        """Yield the PCM: as it comes when LIVE, otherwise once the chunk is DONE.

        Raises:
            WorkerError: the chunk could not be generated.
        """
        while True:
            while self._state is not _State.WAITING and self._num_read < len(self._pieces):
                self._num_read += 1
                yield self._pieces[self._num_read - 1]
            if self._state is _State.DONE:
                if self._error is not None:
                    raise self._error
                return
            self._changed.clear()
            await self._changed.wait()

    async def run(
        self, prompt: Prompt, sampling: Sampling, seeds: ChunkSeeds, max_frames: int
    ) -> ChunkResult | None:
        """Generate until an attempt is kept, and return it.

        Args:
            prompt: the chunk, laid out for the model.
            sampling: how to draw; its seed is replaced by that of the attempt.
            seeds: one per attempt.
            max_frames: the cap on the length.

        Returns:
            None after a failure; the error goes to the iteration over `pcm`.
        """
        submission = Submission(prompt, sampling, max_frames)
        try:
            self.result = await self._best_attempt(submission, seeds)
        except Exception as error:
            self.fail(error)
        else:
            self._pieces = self.result.pieces
            self._enter(_State.DONE)
        return self.result

    def fail(self, error: Exception) -> None:
        """End the chunk with an error, which the iteration over `pcm` raises."""
        if isinstance(error, WorkerError):
            self._error = error
        else:
            log.error("a chunk met a defect", extra={"exception": frames_of(error)})
            self._error = InternalError("a chunk could not be spoken; the log says why")
            self._error.__cause__ = error
        del self._pieces[self._num_read :]
        self._enter(_State.DONE)

    @property
    def _is_committed(self) -> bool:
        """Whether some of the present attempt was heard."""
        return self._num_read > 0

    async def _best_attempt(self, submission: Submission, seeds: ChunkSeeds) -> ChunkResult:
        best: ChunkResult | None = None
        failure: WorkerError | None = None
        fault = ""
        while self.num_attempts <= self.policy.retries:
            if fault:
                self._metrics.retries.add(fault)
            self._pieces = []
            seed = seeds.of_attempt(self.num_attempts)
            sampling = replace(submission.sampling, seed=seed)
            try:
                result = await self._attempt(replace(submission, sampling=sampling))
            except (EngineFailed, NoSound) as error:
                if self._is_committed:
                    raise
                log.warning("an attempt failed: %s", error.message)
                failure, fault = error, error.code
                continue
            if self._is_committed:
                return result
            if best is None or result.weight < best.weight:
                best = result
            if not result.faults:
                break
            fault = result.faults[0].kind
        if best is None:
            raise failure or NoSound("the model said nothing; send another seed, or a longer text")
        return best

    async def _attempt(self, submission: Submission) -> ChunkResult:
        attempt = await self._submit(submission)
        self.num_attempts += 1
        self.num_text_ids += submission.prompt.num_text_ids
        edges = Edges(self._model.sample_rate)
        fell_silent = False
        async with aclosing(aiter(attempt)) as pieces:
            async for pcm in pieces:
                self._add(edges.feed(pcm))
                if edges.quiet_s > quality.MAX_QUIET_S:
                    fell_silent = True
                    break
        self._add(edges.finish())
        if not self._pieces:
            raise NoSound("the model said nothing that can be heard; send another seed")
        codes, generation = attempt.codes, attempt.generation
        hit_cap = generation is not None and generation.finish_reason == "length"
        is_cut = hit_cap and submission.max_frames >= self.policy.max_frames
        said = AttemptAudio(
            pcm=np.concatenate(self._pieces),
            sample_rate=self._model.sample_rate,
            frame_rate=self._model.frame_rate,
            codes=codes,
            expected_s=0.0 if is_cut else self.policy.expected_s,
            hit_cap=hit_cap and not is_cut,
            fell_silent=fell_silent,
        )
        return ChunkResult(
            pieces=self._pieces,
            codes=codes,
            hit_cap=hit_cap,
            is_cut=is_cut,
            queue_s=generation.queue_s if generation else 0.0,
            faults=await asyncio.to_thread(quality.judge, said),
        )

    async def _submit(self, submission: Submission) -> Attempt:
        while True:
            try:
                return Attempt(
                    self._model.engine,
                    self._model.codec,
                    submission,
                    is_live=self.policy.is_live,
                )
            except QueueFull:
                if not self.policy.may_wait:
                    raise
            # A half-spoken request is not dropped because other requests filled the queue.
            await asyncio.sleep(RESUBMIT_S)

    def _add(self, pcm: PCM) -> None:
        if len(pcm):
            self._pieces.append(pcm)
            self._changed.set()

    def _enter(self, state: _State) -> None:
        self._state = state
        self._changed.set()
