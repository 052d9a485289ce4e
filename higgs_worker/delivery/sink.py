"""The one loop that brings a speech to its destination, and what a destination must offer."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol, TypeVar

from higgs_worker.api.progress import OnProgress
from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import ModelInfo, SegmentUpdate, SpeechResult
from higgs_worker.audio.pcm import PCM

Output = TypeVar("Output", covariant=True)


class SpeechSource(Protocol):
    """A request being spoken; iterating over it once gives its PCM."""

    @property
    def request(self) -> SpeechRequest:
        """What is spoken, and how."""

    @property
    def sample_rate(self) -> int:
        """Of the PCM, in hertz."""

    @property
    def seed(self) -> int:
        """Decides everything that is drawn."""

    @property
    def model(self) -> ModelInfo:
        """Which weights speak."""

    @property
    def fraction_spoken(self) -> float:
        """How much of the text has been spoken, 0 to 1."""

    def __aiter__(self) -> AsyncGenerator[PCM, None]:
        """Yield the PCM piece by piece."""

    async def prepare(self) -> None:
        """Begin to generate before anybody listens; without an iteration, `cancel` must follow."""

    def cancel(self) -> None:
        """Cancel what has not been generated."""

    def take_segments(self) -> Sequence[SegmentUpdate]:
        """Return the segments whose times became known, or better, since the last call."""

    def result(self) -> SpeechResult:
        """Describe the speech, once the iteration has ended."""


class Sink(Protocol[Output]):
    """Where the audio of one speech goes."""

    async def feed(self, pcm: PCM) -> None:
        """Accept the next samples. May wait: generation goes on meanwhile."""

    async def finish(self, result: SpeechResult) -> Output:
        """Complete the audio and return what the caller of `deliver` gets."""


async def deliver(
    speech: SpeechSource, sink: Sink[Output], on_progress: OnProgress | None = None
) -> Output:
    """Feed a speech to a sink and return what the sink makes of it.

    Raises:
        WorkerError: the speech could not be spoken to its end, or not delivered.
    """
    async with aclosing(aiter(speech)) as pieces:
        async for pcm in pieces:
            await sink.feed(pcm)
            if on_progress is not None:
                on_progress(speech.fraction_spoken)
    return await sink.finish(speech.result())
