"""Whichever way audio goes, what is kept of it is a proper file of the length that the output says.

Files are opened with libsndfile, which the worker does not use; what it cannot open is counted by
hand: the frames of AAC in ADTS, the samples of PCM and G.711.
"""

import asyncio
import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from higgs_worker.api.request import SpeechRequest
from higgs_worker.audio.encode import MIME_TYPES
from higgs_worker.client import _speech
from higgs_worker.delivery.file import PathSink
from higgs_worker.delivery.sink import deliver
from tests.fakes.speeches import RATE, RESULT, TONE, FixedService, FixedSpeech, runner
from tests.serverless.test_output import Shelf

SECONDS = 3
SOUND = np.tile(TONE, SECONDS)
FIELDS = {"text": "Hello."}
AAC_FRAME = 1024


def duration_s(data: bytes, format: str) -> float:
    """Return the length that a file's own header tells; where it has none, that of its sound."""
    if format == "pcm":
        return len(data) / 2 / RATE
    if format in ("ulaw", "alaw"):
        return len(data) / 8000
    if format == "aac":
        num_frames, position = 0, 0
        while position < len(data):
            assert data[position] == 0xFF
            assert data[position + 1] & 0xF0 == 0xF0
            bits = int.from_bytes(data[position + 3 : position + 6], "big")
            position += (bits >> 5) & 0x1FFF
            num_frames += 1
        return num_frames * AAC_FRAME / RATE
    info: Any = soundfile.info(io.BytesIO(data))
    return float(info.frames / info.samplerate)


def job(**fields: Any) -> dict[str, Any]:
    """Return a job as the SDK hands it over."""
    return {"id": "7", "input": FIELDS | fields}


def service() -> FixedService:
    """Return a service that says three seconds."""
    return FixedService(SOUND, replace(RESULT, duration_s=float(SECONDS)))


def whole(format: str, shelf: Shelf | None, directory: Path) -> list[dict[str, Any]]:
    """Run a job on an endpoint that does not stream; return what it returns, as a list."""
    worker = runner(service(), shelf, directory)
    return [asyncio.run(worker.run(job(format=format)))]


def streamed(format: str, shelf: Shelf | None, directory: Path) -> list[dict[str, Any]]:
    """Run a job on a streaming endpoint; return the pieces."""
    worker = runner(service(), shelf, directory)
    asked = job(format=format, **({"output": "s3"} if shelf else {}))

    async def pieces() -> list[dict[str, Any]]:
        return [piece async for piece in worker.stream(asked)]

    return asyncio.run(pieces())


@pytest.mark.parametrize("format", MIME_TYPES)
@pytest.mark.parametrize("route", [whole, streamed])
def test_every_kept_file_is_proper(format: str, route: Any, tmp_path: Path) -> None:
    """The object in a bucket, the copy in a directory, and what the client joins."""
    shelf = Shelf()
    *_, stored = route(format, shelf, tmp_path)
    expected = pytest.approx(stored["audio"]["duration_s"], abs=0.09 if format == "aac" else 1e-3)
    assert duration_s(shelf.objects[stored["audio"]["key"]], format) == expected
    assert len(shelf.objects[stored["audio"]["key"]]) == stored["audio"]["num_bytes"]
    assert duration_s((tmp_path / f"7.{format}").read_bytes(), format) == expected
    joined = _speech(route(format, None, tmp_path)).audio
    assert duration_s(joined, format) == expected
    assert duration_s((tmp_path / f"7.{format}").read_bytes(), format) == expected


@pytest.mark.parametrize("format", MIME_TYPES)
def test_a_local_file_grows_and_ends_proper(format: str, tmp_path: Path) -> None:
    """What the command line writes is there while it is spoken, and right in the end."""
    request = SpeechRequest.parse(FIELDS | {"format": format}, max_text_chars=100)
    path = tmp_path / f"out.{format}"
    sizes = []

    async def speak() -> None:
        speech = FixedSpeech(request, SOUND, RESULT)
        with PathSink(path, request, RATE) as sink:

            def note(fraction: float, doing: str = "") -> None:
                sizes.append(path.stat().st_size)

            await deliver(speech, sink, note)

    asyncio.run(speak())
    assert 0 < sizes[len(sizes) // 2] < sizes[-1]
    assert duration_s(path.read_bytes(), format) == pytest.approx(SECONDS, abs=0.09)


def test_the_pieces_themselves_play(tmp_path: Path) -> None:
    """A player that takes the pieces as they come needs no head."""
    (*pieces, _) = streamed("wav", None, tmp_path)
    first = base64.b64decode(pieces[0]["audio"]["base64"])
    assert first[:4] == b"RIFF"
    assert first[4:8] == b"\xff\xff\xff\xff"
