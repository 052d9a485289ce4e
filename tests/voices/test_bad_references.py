"""Recordings that cannot serve, and unusual ones that can, as callers send them.

The parts have their own tests (audio/test_read, test_download, test_download_bounds, test_library);
these go all the way from a request's voice to its codes, by base64 and by address.
"""

import base64
import io
import itertools
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from higgs_worker.api.voice_spec import VoiceSpec
from higgs_worker.audio.read import read
from higgs_worker.errors import InvalidAudio, InvalidRequest, UnusableReference, WorkerError
from higgs_worker.voices.library import VoiceLibrary
from higgs_worker.voices.references import References
from tests.fakes.web import Server, ok, redirect
from tests.voices.test_references import CountingEncoder

MAX_S, MAX_BYTES = 60.0, 25_000_000
RATE = 24_000
NUM_MINUTES = 414


def sound_file(
    pcm: np.ndarray, sample_rate: int = RATE, container: str = "WAV", subtype: str | None = None
) -> bytes:
    """Write a file of any kind."""
    file = io.BytesIO()
    soundfile.write(file, pcm, sample_rate, format=container, subtype=subtype)
    return file.getvalue()


def babble(duration_s: float, sample_rate: int = RATE) -> np.ndarray:
    """Make noise that comes and goes four times a second."""
    seconds = np.arange(round(duration_s * sample_rate)) / sample_rate
    noise = np.random.default_rng(0).normal(size=len(seconds)) * 0.1
    return (noise * (1 + np.sin(2 * np.pi * 4 * seconds))).astype(np.float32)


def hours_of_mp3() -> bytes:
    """Repeat a minute of MP3 at 8 kbit/s until it has nearly 25 MB."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as out:
        stream = out.add_stream("libmp3lame", rate=8000, layout="mono", bit_rate=8000)
        pcm = (babble(60.0, 8000) * 32767).clip(-32768, 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16p", layout="mono")
        frame.sample_rate = 8000
        out.mux([*stream.encode(frame), *stream.encode(None)])
    minute = file.getvalue()
    return minute * NUM_MINUTES


def with_nan(pcm: np.ndarray) -> np.ndarray:
    """Make one sample no number."""
    pcm = pcm.copy()
    pcm[len(pcm) // 2] = np.nan
    return pcm


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "not audio": (lambda: bytes(range(256)) * 50, "not audio that can be read"),
    "a document": (lambda: b"%PDF-1.7\n" + bytes(5000), "looks like a PDF document"),
    "silent": (lambda: sound_file(np.zeros(2 * RATE)), "silent"),
    "0.2 s": (lambda: sound_file(babble(0.2)), "0.20 s long and at least 1 s"),
    "10 minutes": (
        lambda: sound_file(np.tile(babble(60, 8000), 10), 8000, "FLAC"),
        "600.0 s long and at most 60 s",
    ),
    "not a number": (lambda: sound_file(with_nan(babble(2)), subtype="FLOAT"), "NaN or infinite"),
    "cut to its header": (lambda: sound_file(babble(2), container="FLAC")[:60], "cut short"),
    "half an upload": (
        lambda: (lambda data: data[: len(data) // 2])(sound_file(babble(6.5))),
        "6.5 s of sound and 3.2 s are there",
    ),
    "a web page": (lambda: b"\n<!DOCTYPE html><title>Log in</title>", "web page (HTML)"),
}
GOOD = {
    "8 kHz telephone": lambda: sound_file(babble(2, 8000), 8000, subtype="ULAW"),
    "6 channels": lambda: sound_file(np.stack([babble(2)] * 6, axis=1), container="FLAC"),
    "a file of a phone": lambda: sound_file(babble(2), container="AIFF"),
}


@pytest.fixture
def encoder() -> CountingEncoder:
    """What must not be asked about a bad recording."""
    return CountingEncoder()


def references(tmp_path: Path, encoder: CountingEncoder, *hosts: str) -> References:
    """Keep voices on an empty volume; some hosts are allowed."""
    library = VoiceLibrary(tmp_path / "voices")
    allowed = frozenset(hosts)
    return References(library, encoder, "codec", MAX_S, MAX_BYTES, read, allowed_hosts=allowed)


def inline(data: bytes) -> VoiceSpec:
    """Send a recording as base64."""
    return VoiceSpec(audio=base64.b64encode(data).decode(), text="What I said.")


def refused(
    tmp_path: Path,
    encoder: CountingEncoder,
    answer: Callable[[str], Iterable[bytes]],
) -> WorkerError:
    """Return the error for a recording at the address of a host that is allowed."""
    with Server(answer) as server:
        voice = VoiceSpec(audio=server.url(), text="What I said.")
        kept = references(tmp_path, encoder, server.host)
        with pytest.raises(WorkerError) as caught:
            kept.resolve(voice)
    assert encoder.num_calls == 0
    assert not (tmp_path / "voices").exists()
    return caught.value


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_recording_is_refused_in_a_sentence(
    tmp_path: Path, encoder: CountingEncoder, kind: str
) -> None:
    """However it was sent, the sentence is the same, and nothing is encoded or kept."""
    make, words = BAD[kind]
    data = make()
    with pytest.raises(InvalidAudio) as caught:
        references(tmp_path, encoder).resolve(inline(data))
    by_address = refused(tmp_path, encoder, lambda _: ok(data, "Content-Type: audio/wav"))
    assert words in caught.value.message
    assert by_address.message == caught.value.message
    assert by_address.code == caught.value.code


@pytest.mark.parametrize("kind", GOOD)
def test_an_odd_recording_is_taken(tmp_path: Path, encoder: CountingEncoder, kind: str) -> None:
    """What a voice can be heard in is good enough."""
    codes = references(tmp_path, encoder).resolve(inline(GOOD[kind]())).codes
    assert 1.5 * 25 < len(codes) <= 2.5 * 25


@pytest.mark.parametrize("path", ["/voice.mp3", "/voice.exe", "/voice", "/listen.php?id=1"])
def test_a_wrong_extension_does_not_matter(
    tmp_path: Path, encoder: CountingEncoder, path: str
) -> None:
    """What a file is called, and what its server says of it, decides nothing."""
    data = sound_file(babble(2), container="FLAC")
    with Server(lambda _: ok(data, "Content-Type: video/x-msvideo")) as server:
        voice = VoiceSpec(audio=server.url(path), text="What I said.")
        found = references(tmp_path, encoder, server.host).resolve(voice)
    assert len(found.codes) == pytest.approx(50, abs=3)


def test_hours_in_25_megabytes_are_not_decoded(tmp_path: Path, encoder: CountingEncoder) -> None:
    """Nearly seven hours of MP3 are refused after a minute of them."""
    data = hours_of_mp3()
    assert 24_000_000 < len(data) <= MAX_BYTES
    started = time.process_time()
    with pytest.raises(InvalidAudio, match=r"s long and at most 60 s are accepted"):
        references(tmp_path, encoder).resolve(inline(data))
    assert time.process_time() - started < 6
    assert encoder.num_calls == 0


def test_an_empty_recording(tmp_path: Path, encoder: CountingEncoder) -> None:
    """Nothing is no recording, at an address or in a data URI."""
    assert "empty" in refused(tmp_path, encoder, lambda _: ok(b"")).message
    with pytest.raises(WorkerError, match="empty"):
        references(tmp_path, encoder).resolve(VoiceSpec(audio="data:audio/wav;base64,", text="a"))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _: [b"HTTP/1.1 404 Not Found\r\n\r\n<html>"], "status 404"),
        (lambda _: redirect("http://127.0.0.1:1/voice.wav"), "not on the public internet"),
        (lambda _: redirect("http://10.0.0.1/voice.wav"), "not on the public internet"),
        (lambda _: redirect("http://192.168.1.1/voice.wav"), "not on the public internet"),
        (lambda _: redirect("http://[::1]/voice.wav"), "not on the public internet"),
        (lambda _: redirect("file:///etc/passwd"), "http or https only"),
    ],
    ids=["404", "loopback", "10/8", "192.168/16", "::1", "file"],
)
def test_an_address_that_leads_nowhere(
    tmp_path: Path,
    encoder: CountingEncoder,
    answer: Callable[[str], Iterable[bytes]],
    words: str,
) -> None:
    """A host that is allowed opens no way to others."""
    error = refused(tmp_path, encoder, answer)
    assert isinstance(error, UnusableReference)
    assert words in error.message


def test_an_endless_body_ends_at_the_bound(tmp_path: Path, encoder: CountingEncoder) -> None:
    """A server that never stops sending is left at 25 MB."""

    def pour(_: str) -> Iterable[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        yield from itertools.repeat(bytes(1 << 20))

    error = refused(tmp_path, encoder, pour)
    assert isinstance(error, UnusableReference)
    assert "25" in error.message


@pytest.mark.parametrize("name", ["", "../x", "CON", "x" * 300, "a/b", "voice.zip"])
def test_a_bad_name_is_refused(tmp_path: Path, encoder: CountingEncoder, name: str) -> None:
    """Neither to ask for a voice nor to save one, and no file is touched."""
    kept = references(tmp_path, encoder)
    with pytest.raises(InvalidRequest, match="name of a"):
        kept.resolve(VoiceSpec(name=name))
    with pytest.raises(InvalidRequest, match="name of a"):
        kept.save(name, inline(sound_file(babble(2))))
    assert not list(tmp_path.rglob("*.zip"))
