"""Pipecat's services in a pipeline of their own: `make test-clients` installs it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from tests.fakes.http_worker import RATE, HttpWorker, is_same, is_speech, pcm_of
from tests.http.clients.recipes import recipes, run_python

pytestmark = pytest.mark.long
frames = pytest.importorskip("pipecat.frames.frames", reason="needs `make test-clients`")

from pipecat.pipeline.pipeline import Pipeline  # noqa: E402
from pipecat.pipeline.worker import PipelineParams, PipelineWorker  # noqa: E402
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor  # noqa: E402
from pipecat.workers.runner import WorkerRunner  # noqa: E402

TEXT = "Good morning to you."
WORDS = ("Good ", "morning ", "to ", "you. ", "I ", "am ", "glad ", "that ", "you ", "came.")


class Listener(FrameProcessor):
    """Hears what a service says."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = b""
        self.problems: list[str] = []
        self.heard = asyncio.Event()
        self.stopped = asyncio.Event()

    async def process_frame(self, frame: Any, direction: FrameDirection) -> None:
        """Take a frame and pass it on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, frames.TTSAudioRawFrame):
            assert (frame.sample_rate, frame.num_channels) == (RATE, 1)
            self.audio += frame.audio
            self.heard.set()
        elif isinstance(frame, frames.TTSStoppedFrame):
            self.stopped.set()
        await self.push_frame(frame, direction)

    def forget(self) -> None:
        """Listen anew."""
        self.audio = b""
        self.heard.clear()
        self.stopped.clear()

    async def until_stopped(self) -> np.ndarray:
        """Return what was heard until the service stopped."""
        await asyncio.wait_for(self.stopped.wait(), 30)
        pcm = pcm_of(self.audio)
        self.forget()
        return pcm


Talk = Callable[[Callable[..., Awaitable[None]], Listener], Awaitable[None]]


def talk_with(tts: Any, talk: Talk) -> Listener:
    """Run a talk with a service, as a pipeline does."""

    async def run() -> Listener:
        listener = Listener()
        worker = PipelineWorker(
            Pipeline([tts, listener]), params=PipelineParams(audio_out_sample_rate=RATE)
        )

        @tts.event_handler("on_error")
        async def on_error(_: Any, problem: Any) -> None:
            listener.problems.append(str(problem))

        async def send(*sent: Any) -> None:
            await worker.queue_frames(sent)

        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)

        async def converse() -> None:
            await talk(send, listener)
            await send(frames.EndFrame())

        async with asyncio.timeout(120):
            await asyncio.gather(runner.run(), converse())
        return listener

    listener = asyncio.run(run())
    assert not listener.problems
    return listener


def answer(*words: str) -> list[Any]:
    """Return the frames of a language model's answer."""
    return [
        frames.LLMFullResponseStartFrame(),
        *(frames.LLMTextFrame(word) for word in words),
        frames.LLMFullResponseEndFrame(),
    ]


def test_openai(worker: HttpWorker, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its request is spoken; it has no seed, but the reply tells one, which gives the same."""
    import openai

    monkeypatch.setenv("HIGGS_API_KEY", key)
    seeds: list[int] = []

    async def note(reply: Any) -> None:
        seeds.append(int(reply.headers["x-higgs-seed"]))

    async def talk(send: Any, listener: Listener) -> None:
        await send(frames.TTSSpeakFrame(TEXT))
        heard = await listener.until_stopped()
        assert is_same(heard, worker.job_pcm(TEXT, seeds[0], voice="clara"))

    _, snippet = recipes("Pipecat", worker.address)
    tts: Any = run_python(snippet)["tts"]
    tts._client._client.event_hooks = {"response": [note]}
    assert isinstance(tts._client, openai.AsyncOpenAI)
    talk_with(tts, talk)


def test_deepgram(worker: HttpWorker, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that comes word by word is spoken to its end, and so is the next one."""
    monkeypatch.setenv("HIGGS_API_KEY", key)

    async def talk(send: Any, listener: Listener) -> None:
        await send(*answer(*WORDS))
        assert is_speech(await listener.until_stopped(), 2.4, tolerance_s=1.0)
        await send(*answer("Yes, ", "I ", "am."))
        assert is_speech(await listener.until_stopped(), 0.9, tolerance_s=0.5)

    snippet, _ = recipes("Pipecat", worker.address)
    talk_with(run_python(snippet)["tts"], talk)


def test_an_interruption(worker: HttpWorker, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was interrupted is not heard again; the next answer is heard at once, and whole."""
    monkeypatch.setenv("HIGGS_API_KEY", key)

    async def talk(send: Any, listener: Listener) -> None:
        await send(*answer(*WORDS * 4)[:-1])
        await asyncio.wait_for(listener.heard.wait(), 30)
        await send(frames.InterruptionFrame())
        await asyncio.sleep(0.3)
        listener.forget()
        await send(*answer("Yes, ", "I ", "am."))
        assert is_speech(await listener.until_stopped(), 0.9, tolerance_s=0.5)

    snippet, _ = recipes("Pipecat", worker.address)
    talk_with(run_python(snippet)["tts"], talk)
