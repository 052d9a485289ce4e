"""wyoming-openai, which Home Assistant speaks with: `make test-clients` installs it."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.http_worker import HttpWorker, is_speech, pcm_of
from tests.http.clients.recipes import recipes

pytestmark = pytest.mark.long
pytest.importorskip("wyoming_openai", reason="needs `make test-clients` and Python 3.12")

from wyoming.client import AsyncClient  # noqa: E402
from wyoming.event import Event, Eventable  # noqa: E402
from wyoming.info import Describe, Info  # noqa: E402
from wyoming.tts import (  # noqa: E402
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeVoice,
)


@pytest.fixture(scope="module")
def bridge(worker: HttpWorker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page's command, running; the address that Home Assistant is told."""
    from tests.fakes.http_worker import SECRETS

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    (command,) = recipes("Home Assistant", worker.address)
    command = command.replace("tcp://0.0.0.0:10300", address)
    directory = tmp_path_factory.mktemp("bridge")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            env={"PATH": path, **SECRETS},
            cwd=directory,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield address
    finally:
        process.kill()
        process.wait(10)


async def ask(address: str, last: str, *sent: Eventable) -> list[Event]:
    """Send events and return what comes, up to a kind."""
    for _ in range(200):
        try:
            client = AsyncClient.from_uri(address)
            await client.connect()
            break
        except OSError:
            await asyncio.sleep(0.1)
    received: list[Event] = []
    try:
        for each in sent:
            await client.write_event(each.event())
        while not received or received[-1].type != last:
            event = await asyncio.wait_for(client.read_event(), 30)
            assert event is not None
            assert event.type != "error", event.data
            received.append(event)
    finally:
        await client.disconnect()
    return received


def audio_in(events: list[Event]) -> np.ndarray:
    """Return the samples of all of them."""
    return pcm_of(b"".join(each.payload or b"" for each in events))


def test_voices(bridge: str) -> None:
    """They are those of the command."""
    (told,) = asyncio.run(ask(bridge, "info", Describe()))
    (program,) = Info.from_event(told).tts
    assert [each.name for each in program.voices] == ["bram", "clara", "edda", "pippa"]


def test_speech(bridge: str) -> None:
    """A streamed WAV is read to its end."""
    voice = SynthesizeVoice(name="clara")
    sent = Synthesize(text="Good morning to you.", voice=voice)
    assert is_speech(audio_in(asyncio.run(ask(bridge, "audio-stop", sent))), 1.04, tolerance_s=0.3)


def test_text_that_is_being_written(bridge: str) -> None:
    """Sentences are spoken as they come, several at once, and arrive in order."""
    parts = ("Good morning to y", "ou. And to", " you. Are you well?")
    events = asyncio.run(
        ask(
            bridge,
            "synthesize-stopped",
            SynthesizeStart(voice=SynthesizeVoice(name="clara")),
            *(SynthesizeChunk(text=each) for each in parts),
            SynthesizeStop(),
        )
    )
    assert is_speech(audio_in(events), 2.6, tolerance_s=0.9)
