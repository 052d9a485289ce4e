"""Files of raw PCM: each format as long as the PCM and true to it; few at once; clear refusals."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import av
import httpx2
import numpy as np
import pytest
import soundfile

from higgs_worker.audio.encode import MIME_TYPES
from higgs_worker.http.encode_routes import MAX_AT_ONCE, SLICE_S
from tests.fakes.counted_threads import CountedThreads
from tests.fakes.http_server import HttpServer, serving_http
from tests.fakes.speeches import RATE

ENCODE = "/v1/audio/encode"
RATES = (8000, 11_025, 48_000)
TELEPHONE_RATE = 8000
AAC_PADDING = 3 * 1024
"""Samples at both ends that ADTS cannot mark: the encoder's delay, and the rest of a frame."""

REFUSED: tuple[tuple[str, bytes, str, str], ...] = (
    ("", b"ab", "format", "is required"),
    ("format=", b"ab", "format", "must be wav or mp3"),
    ("format=ogg", b"ab", "format", "not 'ogg'"),
    ("format=MP3", b"ab", "format", "not 'MP3'"),
    ("format=wav&format=wav", b"ab", "format", "twice"),
    ("format=wav&fromat=wav", b"ab", "fromat", "did you mean 'format'"),
    ("format=wav&speed=2", b"ab", "speed", "no parameter of this route"),
    ("format=wav&sample_rate=7999", b"ab", "sample_rate", "from 8000 to 48000"),
    ("format=wav&sample_rate=48001", b"ab", "sample_rate", "from 8000 to 48000"),
    ("format=wav&sample_rate=24e3", b"ab", "sample_rate", "not '24e3'"),
    ("format=wav&sample_rate=-8000", b"ab", "sample_rate", "whole number"),
    ("format=wav&sample_rate=", b"ab", "sample_rate", "whole number"),
    (f"format=wav&sample_rate={'9' * 4000}", b"ab", "sample_rate", "whole number"),
    ("format=wav&sample_rate=%D9%A1%D9%A2%D9%A3%D9%A4%D9%A5", b"ab", "sample_rate", "whole"),
    ("format=wav", b"", "body", "is empty"),
    ("format=wav", b"abc", "body", "has 3 bytes"),
)
"""Queries and bodies, the parameter that is wrong, and words about it."""


def run(volume: Path, test: Callable[[HttpServer], Awaitable[None]], **settings: str) -> None:
    """Run a test of a server; then nothing is left of its requests."""

    async def serve() -> None:
        async with serving_http(volume, **settings) as server:
            await test(server)
            await server.until(num_running=0, num_body_bytes=0)

    asyncio.run(serve())


def tone(num: int, sample_rate: int) -> np.ndarray:
    """Return samples of a tone of 440 Hz, [num] int16."""
    sound = np.sin(2 * np.pi * 440 / sample_rate * np.arange(num))
    return np.round(10_000 * sound).astype("<i2")


def seconds_of(file: bytes) -> float:
    """Return how long PyAV plays a file."""
    with av.open(io.BytesIO(file)) as container:
        return sum(each.samples / each.sample_rate for each in container.decode(audio=0))


async def encoded(server: HttpServer, pcm: np.ndarray, **query: Any) -> httpx2.Response:
    """Return the reply for samples."""
    reply = await server.client.post(ENCODE, content=pcm.tobytes(), params=query)
    assert reply.status_code == 200, reply.text
    return reply


@pytest.mark.parametrize("format", MIME_TYPES)
def test_a_file_is_as_long_as_its_samples(tmp_path: Path, format: str) -> None:
    """To the sample, but for what a format cannot mark; longer than a slice, and no whole number
    of them.
    """

    async def check(server: HttpServer, sample_rate: int) -> None:
        pcm = tone(round(1.3 * SLICE_S * sample_rate) + 7, sample_rate)
        seconds = len(pcm) / sample_rate
        reply = await encoded(server, pcm, format=format, sample_rate=sample_rate)
        file, stored_rate = reply.content, int(reply.headers["x-higgs-sample-rate"])
        assert reply.headers["content-type"] == MIME_TYPES[format]
        assert reply.headers["content-length"] == str(len(file))
        wanted = f'attachment; filename="speech.{format}"'
        assert reply.headers["content-disposition"] == wanted
        if format == "pcm":
            assert file == pcm.tobytes()
        elif format in ("ulaw", "alaw"):
            assert stored_rate == TELEPHONE_RATE
            assert len(file) == pytest.approx(seconds * TELEPHONE_RATE, abs=1)
        elif format == "aac":
            assert 0 < seconds_of(file) - seconds <= AAC_PADDING / stored_rate
        else:
            sound, found_rate = soundfile.read(io.BytesIO(file), dtype="int16")
            assert len(sound) / found_rate == pytest.approx(seconds, abs=1.5 / sample_rate)
            assert seconds_of(file) == pytest.approx(seconds, abs=0.001)
            middle = slice(len(sound) // 4, -len(sound) // 4)
            assert np.abs(sound[middle]).max() == pytest.approx(10_000, rel=0.05)

    async def test(server: HttpServer) -> None:
        for sample_rate in RATES:
            await check(server, sample_rate)

    run(tmp_path, test)


@pytest.mark.parametrize("format", ["wav", "flac", "pcm"])
def test_what_loses_nothing_has_the_same_samples(tmp_path: Path, format: str) -> None:
    """Every value comes back as it was; the lowest, which has no counterpart, one higher."""
    pcm = np.arange(-32768, 32768).astype("<i2")

    async def test(server: HttpServer) -> None:
        file = (await encoded(server, pcm, format=format)).content
        if format == "pcm":
            sound = np.frombuffer(file, "<i2")
        else:
            sound, rate = soundfile.read(io.BytesIO(file), dtype="int16")
            assert rate == RATE
        assert np.array_equal(sound[1:], pcm[1:])
        assert sound[0] == -32767

    run(tmp_path, test)


def test_a_head_is_true(tmp_path: Path) -> None:
    """As of a file, not of a stream: WAV has its sizes, FLAC its total, an MP3 its frames."""
    pcm = tone(3 * RATE, RATE)

    async def test(server: HttpServer) -> None:
        wav = (await encoded(server, pcm, format="wav")).content
        assert int.from_bytes(wav[4:8], "little") == len(wav) - 8
        flac = (await encoded(server, pcm, format="flac")).content
        assert soundfile.info(io.BytesIO(flac)).frames == len(pcm)
        mp3 = (await encoded(server, pcm, format="mp3")).content
        assert b"Xing" in mp3[:200] or b"Info" in mp3[:200]

    run(tmp_path, test)


def test_refusals_say_what_is_wrong(tmp_path: Path) -> None:
    """In OpenAI's envelope, with the parameter."""

    async def test(server: HttpServer) -> None:
        for query, body, field, words in REFUSED:
            reply = await server.client.post(f"{ENCODE}?{query}", content=body)
            assert reply.status_code == 400, query
            error = reply.json()["error"]
            assert error["code"] == "invalid_request"
            assert error["param"] == field
            assert words in error["message"]
            assert len(error["message"]) < 300

    run(tmp_path, test)


def test_the_shortest_sound_is_a_file(tmp_path: Path) -> None:
    """Three samples, one of a telephone, in each format."""

    async def test(server: HttpServer) -> None:
        for format in MIME_TYPES:
            assert (await encoded(server, np.ones(3, "<i2"), format=format)).content, format

    run(tmp_path, test)


def test_few_are_encoded_at_once(tmp_path: Path) -> None:
    """The others wait, and then get the same file; meanwhile others are served."""
    pcm = tone(2 * RATE, RATE)

    async def test(server: HttpServer) -> None:
        threads = CountedThreads()
        asyncio.get_running_loop().set_default_executor(threads)
        threads.free.clear()
        asking = [
            asyncio.create_task(encoded(server, pcm, format="flac")) for _ in range(3 * MAX_AT_ONCE)
        ]
        await server.until(num_running=len(asking))
        while threads.num_running < MAX_AT_ONCE:
            await asyncio.sleep(0.002)
        assert (await server.client.get("/ping")).status_code == 200
        threads.free.set()
        files = {(await each).content for each in asking}
        assert len(files) == 1
        assert threads.most_running == MAX_AT_ONCE

    run(tmp_path, test)


def test_who_leaves_stops_the_work(tmp_path: Path) -> None:
    """After the slice that is under way; whoever waits is not begun, and makes room for others."""
    pcm = tone(round(20 * SLICE_S * RATE), RATE)

    async def test(server: HttpServer) -> None:
        threads = CountedThreads()
        asyncio.get_running_loop().set_default_executor(threads)
        threads.free.clear()
        asking = [
            asyncio.create_task(encoded(server, pcm, format="flac")) for _ in range(MAX_AT_ONCE + 1)
        ]
        await server.until(num_running=len(asking))
        while threads.num_running < MAX_AT_ONCE:
            await asyncio.sleep(0.002)
        for each in asking:
            each.cancel()
        await server.until(num_running=0, num_body_bytes=0)
        threads.free.set()
        while threads.num_running:
            await asyncio.sleep(0.002)
        assert threads.num_begun == MAX_AT_ONCE
        await encoded(server, pcm[:100], format="flac")

    run(tmp_path, test)
