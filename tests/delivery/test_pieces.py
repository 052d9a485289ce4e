"""Pieces: what is streamed is the speech, and what is kept of it is a proper file."""

import asyncio
import base64
import io
import itertools
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.api.request import SpeechRequest
from higgs_worker.audio import encode
from higgs_worker.delivery.encoding import FileWriter, PacketWriter, check_streamable
from higgs_worker.delivery.file import MemoryTarget, SaveDirectory
from higgs_worker.delivery.pieces import MAX_QUEUED_BYTES, PieceQueue, PieceSink
from higgs_worker.errors import InvalidRequest
from tests.audio.sounds import decode_g711
from tests.fakes.speeches import RATE, RESULT

SOUND = np.sin(np.arange(RATE) / 20).astype(np.float32) * 0.5


def request(**fields: object) -> SpeechRequest:
    """Make a request."""
    return SpeechRequest.parse({"text": "Hello."} | fields, max_text_chars=100)


def pieces_of(pcm: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    """Cut a sound."""
    edges = sorted({0, len(pcm), *(cut % (len(pcm) + 1) for cut in cuts)})
    return [pcm[a:b] for a, b in itertools.pairwise(edges)]


def packets(pcm: np.ndarray, cuts: list[int], **fields: object) -> bytes:
    """Return the packets of a sound that comes in pieces, joined."""
    writer = PacketWriter(request(**fields), RATE)
    fed = [writer.feed(piece) for piece in pieces_of(pcm, cuts)]
    return b"".join([*fed, writer.finish()])


def file_of(pcm: np.ndarray, cuts: list[int], **fields: object) -> bytes:
    """Return the file of a sound that comes in pieces."""
    writer, target = FileWriter(request(**fields), RATE), MemoryTarget()
    for piece in pieces_of(pcm, cuts):
        target.feed(writer.feed(piece))
    rest, head = writer.finish()
    target.finish(rest, head=head)
    return target.data


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    cuts=st.lists(st.integers(0, 3 * RATE), max_size=6),
    length=st.sampled_from([1, 100, 239, 240, 241, 5000, RATE]),
    sample_rate=st.sampled_from([8000, 24000, 44100]),
)
def test_pieces_equal_the_whole(cuts: list[int], length: int, sample_rate: int) -> None:
    """Wherever it is cut, the sound is that of the finished file."""
    pcm = SOUND[:length]
    whole = file_of(pcm, [], format="pcm", sample_rate=sample_rate)
    streamed = packets(pcm, cuts, format="pcm", sample_rate=sample_rate)
    expected, heard = np.frombuffer(whole, "<i2"), np.frombuffer(streamed, "<i2")
    assert len(heard) == len(expected)
    assert np.abs(heard.astype(int) - expected).max(initial=0) <= 1


@pytest.mark.parametrize("format", encode.MIME_TYPES)
def test_a_file_in_pieces_is_the_file(format: str) -> None:
    """The bytes do not depend on how the sound came, whatever was asked for."""
    cuts = list(range(0, RATE, 1000))
    for fields in ({}, {"sample_rate": 16000}, {"speed": 1.5}, {"loudness_lufs": -20, "speed": 3}):
        whole = file_of(SOUND, [], format=format, **fields)
        assert file_of(SOUND, cuts, format=format, **fields) == whole
    at_its_rate = file_of(SOUND, cuts, format=format, sample_rate=RATE)
    assert at_its_rate == encode.encode(SOUND, RATE, format)


@pytest.mark.parametrize("format", encode.MIME_TYPES)
def test_every_format_plays(format: str) -> None:
    """The packets of each format, joined, are a stream that players open."""
    data = packets(SOUND, list(range(0, RATE, 2400)), format=format, sample_rate=16000)
    if format in ("pcm", "ulaw", "alaw"):
        assert len(data) == (2 if format == "pcm" else 1) * 16000
        return
    with av.open(io.BytesIO(data)) as container:
        assert container.streams.audio[0].rate == (48000 if format == "opus" else 16000)
        samples = sum(frame.samples for frame in container.decode(audio=0))
        assert samples / container.streams.audio[0].rate == pytest.approx(1, abs=0.15)


def test_the_first_packet_does_not_wait() -> None:
    """A tenth of a second of sound is enough to start, at another speed too."""
    assert len(PacketWriter(request(), RATE).feed(SOUND[: RATE // 10])) > 4000
    assert len(PacketWriter(request(speed=1.5), RATE).feed(SOUND[: RATE // 10])) > 1000


@pytest.mark.parametrize("format", ["wav", "mp3", "ulaw"])
@pytest.mark.parametrize("speed", [0.25, 0.8, 1.7, 4])
def test_a_stream_may_have_another_speed(format: str, speed: float) -> None:
    """It is as long as the finished file, and with its head in place, it is that file."""
    asked = request(format=format, speed=speed)
    heard, output = stream(asked, SOUND)
    if head := output["audio"].get("file_head"):
        heard = base64.b64decode(head["base64"]) + heard[head["replaces_bytes"] :]
    assert heard == file_of(SOUND, [], format=format, speed=speed)
    if format == "ulaw":
        assert len(heard) == round(8000 / speed)


@pytest.mark.parametrize("hz", [4100, 6000, 9000])
def test_a_telephone_hears_nothing_that_it_cannot_carry(hz: int) -> None:
    """At 8 kHz, a tone above 4 kHz is silence and does not come back as a lower one."""
    hiss = 0.5 * np.sin(2 * np.pi * hz / RATE * np.arange(RATE)).astype(np.float32)
    both = hiss + 0.25 * np.sin(2 * np.pi * 1000 / RATE * np.arange(RATE)).astype(np.float32)
    heard = decode_g711(packets(hiss, [5000], format="ulaw"), "ulaw") / 32767
    assert np.abs(heard[800:-800]).max() < 1e-3
    heard = decode_g711(packets(both, [5000], format="ulaw"), "ulaw") / 32767
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    strongest, *others = np.sort(np.delete(spectrum, [999, 1001]))[::-1]
    assert spectrum.argmax() == 1000
    assert others[0] < 0.02 * strongest


def test_what_needs_the_whole_is_refused() -> None:
    """It is not ignored, and the sentence says where it can be had."""
    check_streamable(request(sample_rate=8000, format="opus", speed=2.0))
    with pytest.raises(InvalidRequest, match=r"loudness_lufs needs the whole.*HIGGS_STREAM"):
        check_streamable(request(loudness_lufs=-20.0))


def run(work: Any) -> Any:
    """Run within five seconds."""
    return asyncio.run(asyncio.wait_for(work, 5))


def stream(asked: SpeechRequest, pcm: np.ndarray, **parts: Any) -> tuple[bytes, dict[str, Any]]:
    """Stream a sound; return the pieces, joined, and the output."""

    async def work() -> tuple[bytes, dict[str, Any]]:
        queue = PieceQueue(10**9)
        usual = {"name": "7", "target": None, "directory": SaveDirectory()}
        sink = PieceSink(asked, RATE, queue, **usual | parts)
        for piece in pieces_of(pcm, list(range(0, len(pcm), 2400))):
            await sink.feed(piece)
        output = await sink.finish(RESULT)
        return await queue.take(), output

    heard, output = run(work())
    return heard, output


@pytest.mark.parametrize("sample_rate", [24000, 16000])
@pytest.mark.parametrize("format", encode.MIME_TYPES)
def test_the_head_makes_a_file_of_the_stream(format: str, sample_rate: int) -> None:
    """Put in place of the first bytes, it gives the very file that is kept elsewhere.

    Opus is the exception: its pages differ, and its stream is a proper file already.
    """
    pcm = np.tile(SOUND, 3)
    asked = request(format=format, sample_rate=sample_rate)
    heard, output = stream(asked, pcm)
    if head := output["audio"].get("file_head"):
        heard = base64.b64decode(head["base64"]) + heard[head["replaces_bytes"] :]
    assert ("file_head" in output["audio"]) == (format in ("wav", "flac", "mp3"))
    if format != "opus":
        assert heard == file_of(pcm, [], format=format, sample_rate=sample_rate)
    if format in ("wav", "flac", "mp3", "opus"):
        opened = soundfile.info(io.BytesIO(heard))
        assert opened.duration == pytest.approx(len(pcm) / RATE, abs=1e-4)


@pytest.mark.parametrize("format", ["wav", "flac", "mp3"])
def test_a_short_stream_has_a_head_too(format: str) -> None:
    """Also where the whole file is hardly more than its head."""
    for length in (1, 500, 3000):
        heard, output = stream(request(format=format), SOUND[:length])
        head = output["audio"]["file_head"]
        file = base64.b64decode(head["base64"]) + heard[head["replaces_bytes"] :]
        assert file == file_of(SOUND[:length], [], format=format)


@pytest.mark.parametrize("format", encode.MIME_TYPES)
def test_what_a_streaming_worker_keeps_is_a_file(format: str, tmp_path: Path) -> None:
    """The saved copy is the file that any other worker saves."""
    asked = request(format=format)
    stream(asked, SOUND, target=MemoryTarget(), directory=SaveDirectory(tmp_path))
    assert (tmp_path / f"7.{format}").read_bytes() == file_of(SOUND, [], format=format)


def test_pieces_gather() -> None:
    """The first is handed on at once; then half a second of sound makes the next, or the end."""

    async def work() -> list[bytes]:
        queue = PieceQueue(100)
        await queue.put(b"a", 0.1)
        taken = [await queue.take()]
        for packet in (b"b", b"c", b"d"):
            taking = asyncio.create_task(queue.take())
            await queue.put(packet, 0.2)
            await asyncio.sleep(0.01)
            if not taking.done():
                taking.cancel()
                await asyncio.wait({taking})
        taken.append(taking.result())
        await queue.put(b"e", 0.1)
        await queue.close()
        return [*taken, await queue.take(), await queue.take(), await queue.take()]

    assert run(work()) == [b"a", b"bcd", b"e", b"", b""]


def test_a_large_packet_is_divided() -> None:
    """No piece is larger than the limit, and none of it waits."""

    async def work() -> list[int]:
        queue = PieceQueue(100)
        await queue.put(bytes(250), 0.01)
        first = [len(await queue.take()) for _ in range(2)]
        await queue.close()
        return [*first, len(await queue.take()), len(await queue.take())]

    assert run(work()) == [100, 100, 50, 0]


def test_a_full_queue_makes_the_speaker_wait() -> None:
    """What nobody takes does not grow without bound."""

    async def work() -> None:
        queue = PieceQueue(MAX_QUEUED_BYTES)
        await queue.put(bytes(MAX_QUEUED_BYTES), 100)
        putting = asyncio.create_task(queue.put(b"more", 1))
        await asyncio.sleep(0.02)
        assert not putting.done()
        await queue.take()
        await putting
        await queue.close()
        assert await queue.take() == b"more"

    run(work())
