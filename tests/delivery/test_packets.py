"""Packets: a speech in pieces is the speech as a whole."""

import asyncio
import io
import itertools

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.api.request import SpeechRequest
from higgs_worker.audio import encode
from higgs_worker.delivery.packets import MAX_STORED_BYTES, Packer, PacketStore, check_streamable
from higgs_worker.errors import InvalidRequest
from higgs_worker.speech.service import finish

RATE = 24_000
SOUND = np.sin(np.arange(RATE) / 20).astype(np.float32) * 0.5


def request(**fields: object) -> SpeechRequest:
    """Make a request."""
    return SpeechRequest.parse({"text": "Hello."} | fields, max_text_chars=100)


def packed(pcm: np.ndarray, cuts: list[int], **fields: object) -> bytes:
    """Pack a sound in pieces."""
    packer = Packer(request(**fields), RATE)
    edges = sorted({0, len(pcm), *(cut % (len(pcm) + 1) for cut in cuts)})
    pieces = [packer.feed(pcm[a:b]) for a, b in itertools.pairwise(edges)]
    return b"".join(pieces) + packer.finish()[0]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    cuts=st.lists(st.integers(0, 3 * RATE), max_size=6),
    length=st.sampled_from([1, 100, 239, 240, 241, 5000, RATE]),
    sample_rate=st.sampled_from([8000, 24000, 44100]),
)
def test_pieces_equal_the_whole(cuts: list[int], length: int, sample_rate: int) -> None:
    """Wherever it is cut, the sound is that of the finished file."""
    pcm = SOUND[:length]
    whole = finish(pcm, RATE, request(format="pcm", sample_rate=sample_rate))
    streamed = packed(pcm, cuts, format="pcm", sample_rate=sample_rate)
    expected, heard = np.frombuffer(whole, "<i2"), np.frombuffer(streamed, "<i2")
    assert len(heard) == len(expected)
    assert np.abs(heard.astype(int) - expected).max(initial=0) <= 1


@pytest.mark.parametrize("format", encode.MIME_TYPES)
def test_every_format_plays(format: str) -> None:
    """The packets of each format, joined, are a file that players open."""
    data = packed(SOUND, list(range(0, RATE, 2400)), format=format, sample_rate=16000)
    if format == "pcm":
        assert len(data) == 2 * 16000
        return
    with av.open(io.BytesIO(data)) as container:
        assert container.streams.audio[0].rate == (48000 if format == "opus" else 16000)
        samples = sum(frame.samples for frame in container.decode(audio=0))
        assert samples / container.streams.audio[0].rate == pytest.approx(1, abs=0.15)


def test_the_first_packet_does_not_wait() -> None:
    """A tenth of a second of sound is enough to begin."""
    assert len(Packer(request(), RATE).feed(SOUND[: RATE // 10])) > 4000


@pytest.mark.parametrize(("field", "value"), [("speed", 2.0), ("loudness_lufs", -20.0)])
def test_what_needs_the_whole_is_refused(field: str, value: object) -> None:
    """It is not ignored, and the sentence says where it can be had."""
    check_streamable(request(sample_rate=8000, format="opus"))
    with pytest.raises(InvalidRequest, match=rf"{field} needs the whole sound.*HIGGS_STREAM"):
        check_streamable(request(**{field: value}))


def run(work: object) -> object:
    """Run within a second."""
    return asyncio.run(asyncio.wait_for(work, 1))  # type: ignore[arg-type]


def test_pieces_gather() -> None:
    """The first is handed on at once; then half a second of sound makes the next, or the end."""

    async def work() -> list[bytes]:
        store = PacketStore(100)
        await store.put(b"a", 0.1)
        taken = [await store.take()]
        for packet in (b"b", b"c", b"d"):
            taking = asyncio.create_task(store.take())
            await store.put(packet, 0.2)
            await asyncio.sleep(0.01)
            if not taking.done():
                taking.cancel()
                await asyncio.wait({taking})
        taken.append(taking.result())
        await store.put(b"e", 0.1)
        await store.close()
        return [*taken, await store.take(), await store.take(), await store.take()]

    assert run(work()) == [b"a", b"bcd", b"e", b"", b""]


def test_a_large_packet_is_divided() -> None:
    """No piece is larger than the limit, and none of it waits."""

    async def work() -> list[int]:
        store = PacketStore(100)
        await store.put(bytes(250), 0.01)
        first = [len(await store.take()) for _ in range(2)]
        await store.close()
        return [*first, len(await store.take()), len(await store.take())]

    assert run(work()) == [100, 100, 50, 0]


def test_a_full_store_makes_the_speaker_wait() -> None:
    """What nobody takes does not grow without bound."""

    async def work() -> None:
        store = PacketStore(MAX_STORED_BYTES)
        await store.put(bytes(MAX_STORED_BYTES), 100)
        putting = asyncio.create_task(store.put(b"more", 1))
        await asyncio.sleep(0.02)
        assert not putting.done()
        await store.take()
        await putting
        await store.close()
        assert await store.take() == b"more"

    run(work())
