"""One chunk as it is spoken: takes, judged, until one is good enough.

A take is judged when it is complete, and one that sounds wrong is spoken again with another seed;
of several the best is kept. Whoever listens live is given a chunk only when its turn comes; what it
has of it then is passed on at once, and from then on the take is final: what was heard is never
taken back. A chunk that is spoken ahead of its turn, or for a listener who waits for the whole, is
judged before anybody hears it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np

from higgs_worker.audio.edges import Edges
from higgs_worker.engine.sequence import Codes
from higgs_worker.errors import EngineFailed, InternalError, NoSound, QueueFull, WorkerError
from higgs_worker.speech import quality
from higgs_worker.speech.attempt import PCM, Attempt
from higgs_worker.speech.quality import Fault, Said

log = logging.getLogger(__name__)

RESUBMIT_S = 0.2


@dataclass(frozen=True, slots=True)
class ChunkPolicy:
    """By what the takes of a chunk are judged."""

    sample_rate: int
    frame_rate: int
    expected_s: float
    cap_is_ours: bool
    """To reach the cap is a fault, not what the caller asked for."""
    retries: int


@dataclass(slots=True, eq=False)
class ChunkResult:
    """The take that is kept."""

    codes: Codes
    hit_cap: bool
    queue_s: float
    faults: list[Fault]
    pcm: list[PCM] = field(default_factory=list)

    @property
    def weight(self) -> float:
        """How bad it is."""
        return sum(fault.weight for fault in self.faults)


class ChunkRunner:
    """Speaks one chunk."""

    def __init__(
        self, take: Callable[[int], Attempt], standard: ChunkPolicy, *, may_wait: bool
    ) -> None:
        """Prepare to speak.

        Args:
            take: begins an attempt, by its number from 0; may raise a WorkerError.
            standard: by what it is judged.
            may_wait: a full queue is waited for rather than passed on to the caller.
        """
        self._take = take
        self._standard = standard
        self._may_wait = may_wait
        self._passed_on: asyncio.Queue[PCM | Exception | None] = asyncio.Queue()
        self._turn = False
        self._num_heard = 0
        """Pieces of the present take that were passed on."""
        self._pcm: list[PCM] = []
        self.num_takes = 0
        self.outcome: ChunkResult | None = None
        self.is_done = asyncio.Event()

    @property
    def was_heard_early(self) -> bool:
        """Whether some was passed on before it was complete."""
        return self._num_heard > 0

    def give_turn(self) -> None:
        """Pass on what there is, and all that comes, as it comes."""
        self._turn = True
        self._pass_on()

    async def heard(self) -> AsyncGenerator[PCM, None]:
        """Give the PCM: as it comes once it has the turn, else when it is complete.

        Raises:
            WorkerError: it could not be spoken.
        """
        while (item := await self._passed_on.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    async def speak(self, then: Callable[[ChunkResult], None]) -> None:
        """Speak until a take is kept; whoever listens is told, and others go on, after `then`."""
        try:
            self.outcome = await self._best()
            then(self.outcome)
        except WorkerError as error:
            self._passed_on.put_nowait(error)
        except Exception as error:
            log.exception("a chunk met a defect")
            failure = InternalError("a chunk could not be spoken; the log says why")
            failure.__cause__ = error
            self._passed_on.put_nowait(failure)
        else:
            for pcm in self.outcome.pcm[self._num_heard :]:
                self._passed_on.put_nowait(pcm)
            self._passed_on.put_nowait(None)
        self.is_done.set()

    async def _best(self) -> ChunkResult:
        best: ChunkResult | None = None
        failure: WorkerError | None = None
        while self.num_takes <= self._standard.retries:
            self._pcm = []
            try:
                outcome = await self._attempt()
            except (EngineFailed, NoSound) as error:
                if self.was_heard_early:
                    raise
                log.warning("a take failed: %s", error.message)
                failure = error
                continue
            if self.was_heard_early:
                return outcome
            if best is None or outcome.weight < best.weight:
                best = outcome
            if not outcome.faults:
                break
        if best is None:
            raise failure or NoSound("the model said nothing; send another seed, or a longer text")
        return best

    async def _attempt(self) -> ChunkResult:
        standard = self._standard
        take = await self._begin()
        self.num_takes += 1
        edges = Edges(standard.sample_rate)
        fell_silent = False
        async with aclosing(aiter(take)) as pieces:
            async for pcm in pieces:
                self._keep(edges.feed(pcm))
                if edges.quiet_s > quality.MAX_QUIET_S:
                    fell_silent = True
                    break
        self._keep(edges.finish())
        if not self._pcm:
            raise NoSound("the model said nothing that can be heard; send another seed")
        generation = take.generation
        outcome = ChunkResult(
            codes=take.codes,
            hit_cap=generation is not None and generation.finish_reason == "length",
            queue_s=generation.queue_s if generation else 0.0,
            faults=[],
            pcm=self._pcm,
        )
        outcome.faults = await asyncio.to_thread(self._judge, outcome, fell_silent)
        return outcome

    async def _begin(self) -> Attempt:
        while True:
            try:
                return self._take(self.num_takes)
            except QueueFull:
                if not self._may_wait:
                    raise
            # What is half said is not given up because others came first.
            await asyncio.sleep(RESUBMIT_S)

    def _judge(self, outcome: ChunkResult, fell_silent: bool) -> list[Fault]:
        standard = self._standard
        return quality.judge(
            Said(
                pcm=np.concatenate(outcome.pcm),
                sample_rate=standard.sample_rate,
                frame_rate=standard.frame_rate,
                codes=outcome.codes,
                expected_s=standard.expected_s,
                hit_cap=outcome.hit_cap and standard.cap_is_ours,
                fell_silent=fell_silent,
            )
        )

    def _keep(self, pcm: PCM) -> None:
        if len(pcm):
            self._pcm.append(pcm)
            self._pass_on()

    def _pass_on(self) -> None:
        if self._turn and self.outcome is None:
            for pcm in self._pcm[self._num_heard :]:
                self._passed_on.put_nowait(pcm)
            self._num_heard = len(self._pcm)
