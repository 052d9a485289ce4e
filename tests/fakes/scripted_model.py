"""A model by script: it says each text in a tone that tells which text it was.

`ScriptedEngine` stands in for the engine and `ToneCodec` for the codec, both on the event loop, so
that every run is the same. Everything above them (attempts, guards, edges, order) is real.
"""

import asyncio
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from higgs_worker.api.result import ModelInfo
from higgs_worker.engine.handle import Handle
from higgs_worker.engine.sequence import AudioSegment, Generation, Prompt, Submission, TextSegment
from higgs_worker.engine.stats import EngineStats, RunnerStats
from higgs_worker.errors import Cancelled, QueueFull, WorkerError
from higgs_worker.speech.model import LoadedModel
from higgs_worker.speech.prompt import PromptContext
from higgs_worker.text.duration import expected_duration_s

RATE, FRAME_RATE = 24000, 25
HOP = RATE // FRAME_RATE
SILENCE = 0
FRAMES_AT_ONCE = 20
LOUDNESS = {0: 0.3, 1: 0.2, 2: 1.0}
"""Amplitudes; a code is 200 times the key of one, plus the cycles that a frame has."""


def code_of(text: str) -> int:
    """Return the code of a text: a pitch of its own."""
    return 20 + zlib.crc32(text.strip().encode()) % 179


def pitches_in(pcm: np.ndarray) -> list[int]:
    """Return the pitches in a sound, in order, in cycles a frame, without transitions."""
    starts = range(0, len(pcm) - HOP + 1, HOP // 2)
    changes = np.signbit(pcm[1:]) != np.signbit(pcm[:-1])
    cycles = [round(int(changes[start : start + HOP].sum()) / 2) for start in starts]
    steady = [one for one, two in pairwise(cycles) if one == two and one]
    return [each for n, each in enumerate(steady) if not n or each != steady[n - 1]]


@cache
def _frame(code: int) -> np.ndarray:
    loudness, cycles = divmod(code, 200)
    phase = (np.arange(HOP) + 0.5) * cycles / HOP
    return (LOUDNESS[loudness] * np.sign(np.sin(2 * np.pi * phase))).astype(np.float32)


@dataclass
class ScriptedAttempt:
    """How a text is said once."""

    codes: list[int]
    """Of each frame; all codebooks say the same."""
    ends: bool = True
    """Else it runs into the cap."""
    pause_s: float = 0.0
    """Before each part of it."""
    error: WorkerError | None = None


def says(text: str) -> ScriptedAttempt:
    """Return a good attempt: about as long as the text takes, then the end."""
    return ScriptedAttempt([code_of(text)] * max(1, round(expected_duration_s(text) * FRAME_RATE)))


@dataclass
class AskedText:
    """A text that the engine was asked for."""

    text: str
    setting: PromptContext
    seed: int
    number: int
    """How often this text had been asked for before."""


class Prompts:
    """Keeps text and setting of each prompt, where the real one lays them out as ids."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, PromptContext]] = []

    def build(self, text: str, setting: PromptContext) -> Prompt:
        """Number the prompt."""
        self.asked.append((text, setting))
        return Prompt((TextSegment((len(self.asked) - 1,)),))


@dataclass
class ScriptedEngine:
    """Generates texts side by side; `script` decides how."""

    prompts: Prompts
    script: Callable[[AskedText], ScriptedAttempt]
    num_slots: int = 4
    max_waiting: int = 1000
    lines: list[AskedText] = field(default_factory=list)
    num_live: int = 0
    most_live: int = 0
    num_cancelled: int = 0
    hold: asyncio.Event | None = None
    """No text ends before it is set."""

    def max_frames(self, prompt: Prompt) -> int:
        """Return plenty."""
        return 4000

    def submit(
        self,
        submission: Submission,
        *,
        on_frames: Callable[[Any], None],
        num_first_frames: int,
    ) -> Handle:
        """Start a text."""
        if self.num_live >= self.num_slots + self.max_waiting:
            raise QueueFull("the model is full")
        (segment,) = submission.prompt.segments
        assert isinstance(segment, TextSegment)
        assert not isinstance(segment, AudioSegment)
        text, setting = self.prompts.asked[segment.ids[0]]
        number = sum(line.text == text for line in self.lines)
        self.lines.append(AskedText(text, setting, submission.sampling.seed, number))
        cancelled = asyncio.Event()
        handle = Handle(lambda _: cancelled.set())
        self.num_live += 1
        self.most_live = max(self.most_live, self.num_live)
        performance = self.script(self.lines[-1])
        perform = self._perform(performance, submission.max_frames, on_frames, handle, cancelled)
        handle.task = asyncio.create_task(perform)  # type: ignore[attr-defined]  # kept alive
        return handle

    def stats(self) -> EngineStats:
        """Return how many texts are being said; there are neither steps nor prefixes."""
        return EngineStats(
            num_slots_used=min(self.num_live, self.num_slots),
            num_waiting=max(0, self.num_live - self.num_slots),
            runner=RunnerStats(
                num_slots=self.num_slots,
                num_steps=0,
                num_prefix_hits=0,
                num_prefix_misses=0,
                memory=None,
            ),
        )

    async def _perform(
        self,
        performance: ScriptedAttempt,
        max_frames: int,
        on_frames: Callable[[Any], None],
        handle: Handle,
        cancelled: asyncio.Event,
    ) -> None:
        codes = performance.codes[:max_frames]
        if not performance.ends:
            codes = (codes * (max_frames // max(1, len(codes)) + 1))[:max_frames]
        frames = np.repeat(np.asarray(codes, np.int64)[:, None], 8, axis=1)
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            await asyncio.sleep(0)
            if performance.pause_s:
                with suppress(TimeoutError):
                    await asyncio.wait_for(cancelled.wait(), performance.pause_s)
            if cancelled.is_set():
                break
            on_frames(frames[start : start + FRAMES_AT_ONCE])
        while self.hold is not None and not self.hold.is_set() and not cancelled.is_set():
            await asyncio.sleep(0.001)
        self.num_live -= 1
        if cancelled.is_set():
            self.num_cancelled += 1
            handle.end(Cancelled("cancelled"))
        elif performance.error is not None:
            handle.end(performance.error)
        else:
            reason = "stop" if performance.ends and len(codes) < max_frames else "length"
            handle.end(Generation(frames, frames, reason))


class ToneCodec:
    """Turns each frame into a hop of its tone."""

    num_first_frames = 1
    num_frames = 0

    def open(self, listener: Any, **how: Any) -> Any:
        """Open a stream."""
        return listener

    def feed(self, listener: Any, codes: np.ndarray) -> None:
        """Say frames [F, K]."""
        self.num_frames += len(codes)
        listener.on_pcm(np.concatenate([_frame(int(code)) for code in codes[:, 0]]))

    def finish(self, listener: Any) -> None:
        """End the stream."""
        listener.on_end(None)

    def drop(self, listener: Any) -> None:
        """Drop the stream; nothing is kept of it."""


def scripted_model(
    script: Callable[[AskedText], ScriptedAttempt] | None = None, **engine: Any
) -> LoadedModel:
    """Return a model; by default it says every text as it should."""
    prompts = Prompts()
    perform = script or (lambda line: says(line.text))
    return LoadedModel(
        prompts=prompts,  # type: ignore[arg-type]
        engine=ScriptedEngine(prompts, perform, **engine),  # type: ignore[arg-type]
        codec=ToneCodec(),  # type: ignore[arg-type]
        references=None,  # type: ignore[arg-type]
        sample_rate=RATE,
        frame_rate=FRAME_RATE,
        info=ModelInfo("scripted", None),
    )
