"""Encoding: what was computed is what is heard, whole or as a stream."""

import io
import itertools
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from higgs_worker.audio.encode import MIME_TYPES, FileEncoder, StreamEncoder, encode, encoded_rate
from higgs_worker.audio.shape import resample
from tests.audio.sounds import decode, decode_g711, likeness, speech, tone

FORMATS = list(MIME_TYPES)
LOSSLESS = ("wav", "flac", "pcm")
G711 = ("ulaw", "alaw")

# What a decoder plays beyond what went in: run-up at the start, padding at the end, in samples of
# the codec. Frames are 1152 samples (MP3 from 32 kHz, 576 below) and 1024 (AAC).
WHOLE_EXTRA = {"aac": (1024, 2048)}
STREAM_EXTRA = {"aac": (1024, 2048), "mp3": (0, 1105 + 2 * 1152)}


def heard(data: bytes, format: str, sample_rate: int) -> tuple[NDArray[np.float32], int]:
    """Return what a listener gets: samples and rate."""
    if format == "pcm":
        return np.frombuffer(data, "<i2").astype(np.float32) / 32767, sample_rate
    if format in G711:
        return decode_g711(data, format).astype(np.float32) / 32767, sample_rate
    samples, rate, channels = decode(data)
    assert channels == 1
    return samples, rate


def streamed(pcm: NDArray[np.float32], sample_rate: int, format: str, step: int) -> list[bytes]:
    """Return the packets of PCM fed `step` samples at a time, the last one included."""
    encoder = StreamEncoder(format, sample_rate)
    packets = [encoder.feed(pcm[start : start + step]) for start in range(0, len(pcm), step)]
    return [*packets, encoder.finish()]


def check_heard(
    pcm: NDArray[np.float32],
    data: bytes,
    format: str,
    sample_rate: int,
    extra: dict[str, tuple[int, int]],
) -> None:
    """Check rate, duration and sound of what `data` plays against `pcm`."""
    samples, rate = heard(data, format, sample_rate)
    assert rate == (48_000 if format == "opus" else encoded_rate(format, sample_rate))
    expected = len(pcm) * rate / sample_rate
    least, most = extra.get(format, (0, 0))
    # One sample of leeway: a duration need not be whole at another rate.
    assert expected + least - 1 <= len(samples) <= expected + most + 1
    if format in LOSSLESS:
        np.testing.assert_allclose(samples, pcm, atol=0.5 / 32767 + 1e-7)
    else:
        assert likeness(samples, resample(pcm, sample_rate, rate)) > 0.95


@pytest.mark.parametrize("sample_rate", [8000, 24000, 47999])
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_plays_what_went_in(format: str, sample_rate: int) -> None:
    """Rate, one channel, duration and sound survive; AAC may add its run-up and one frame."""
    pcm = speech(1.03, sample_rate)
    data = encode(pcm, sample_rate, format)
    check_heard(pcm, data, format, sample_rate, WHOLE_EXTRA)


@pytest.mark.parametrize("sample_rate", [8000, 24000, 47999])
@pytest.mark.parametrize("format", FORMATS)
def test_a_stream_plays_what_went_in(format: str, sample_rate: int) -> None:
    """As a file does; MP3 may add its run-up and two frames, for nobody tells it where to stop."""
    pcm = speech(1.03, sample_rate)
    data = b"".join(streamed(pcm, sample_rate, format, sample_rate // 10))
    check_heard(pcm, data, format, sample_rate, STREAM_EXTRA)


@pytest.mark.parametrize("sample_rate", [24000, 30000])
@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=5, deadline=None)
@given(steps=st.lists(st.integers(0, 9000), min_size=1, max_size=12))
def test_how_pcm_is_cut_makes_no_difference(
    format: str, sample_rate: int, steps: list[int]
) -> None:
    """Whatever the sizes fed, down to none and one, the bytes are those of PCM fed at once."""
    pcm = speech(0.8, sample_rate)
    encoder = StreamEncoder(format, sample_rate)
    packets, start = [], 0
    for step in steps:
        packets.append(encoder.feed(pcm[start : start + step]))
        start += step
    packets += [encoder.feed(pcm[start:]), encoder.finish()]
    assert b"".join(packets) == b"".join(streamed(pcm, sample_rate, format, len(pcm)))


@pytest.mark.parametrize("sample_rate", [24000, 30000])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("steps", [(1,), (777,), (1, 5000, 0, 31), (10**6,)])
def test_a_file_made_in_pieces_is_the_file(
    format: str, sample_rate: int, steps: tuple[int, ...]
) -> None:
    """To the byte, once its head is replaced; nothing else changes afterwards."""
    pcm = speech(3.0 if steps != (1,) else 0.1, sample_rate)
    encoder, file, at = FileEncoder(format, sample_rate), b"", 0
    for step in itertools.cycle(steps):
        if at >= len(pcm):
            break
        file += encoder.feed(pcm[at : at + step])
        at += step
    rest, head = encoder.finish()
    file += rest
    assert head + file[len(head) :] == encode(pcm, sample_rate, format)
    assert len(head) <= 8192
    with pytest.raises(ValueError, match="finished"):
        encoder.finish()


@pytest.mark.parametrize("format", FORMATS)
def test_a_growing_file_is_flushed(format: str) -> None:
    """Of PCM fed 100 ms at a time, the file has bytes for all but the last 200 ms of it.

    An Ogg page holds a second and is written when the next one is full, so Opus lags by two.
    """
    encoder, lag_s = FileEncoder(format, 24000), 2.0 if format == "opus" else 0.2
    pcm, file = speech(3.0, 24000), b""
    for start in range(0, len(pcm), 2400):
        file += encoder.feed(pcm[start : start + 2400])
        fed_s = (start + 2400) / 24000
        if fed_s > lag_s + 0.3:
            samples, rate = heard(file, format, 24000)
            assert len(samples) / rate > fed_s - lag_s - 0.1
    encoder.finish()


def test_an_unfinished_wav_plays_to_its_end() -> None:
    """Both sizes are 0xFFFFFFFF until the head is replaced: a player that saw 0 would stop."""
    encoder = FileEncoder("wav", 24000)
    file = encoder.feed(tone(0.1, 24000))
    assert len(file) == 44 + 4800
    assert struct.unpack_from("<4sI4s", file) == (b"RIFF", 0xFFFFFFFF, b"WAVE")
    assert struct.unpack_from("<4sI", file, 36) == (b"data", 0xFFFFFFFF)
    rest, head = encoder.finish()
    file += rest
    assert head + file[len(head) :] == encode(tone(0.1, 24000), 24000, "wav")


@pytest.mark.parametrize("format", FORMATS)
def test_a_stream_has_no_gap(format: str) -> None:
    """A steady tone stays steady: no 20 ms inside falls under half its level."""
    data = b"".join(streamed(tone(3.0, 24000), 24000, format, 1777))
    samples, rate = heard(data, format, 24000)
    window = rate // 50
    inside = samples[rate // 10 : -rate // 10]
    level = np.sqrt(np.square(inside[: len(inside) // window * window]).reshape(-1, window).mean(1))
    assert level.min() > 0.5 * np.median(level)


@pytest.mark.parametrize("sample_rate", [8000, 22050, 24000, 48000])
@pytest.mark.parametrize("format", FORMATS)
def test_a_stream_holds_nothing_back(format: str, sample_rate: int) -> None:
    """Of PCM fed 100 ms at a time, bytes come at once or 100 or 200 ms later, and they are sound.

    What has come after two seconds plays at least 1.7 of them.
    """
    encoder = StreamEncoder(format, sample_rate)
    pcm, step = speech(2.0, sample_rate), sample_rate // 10
    packets = [encoder.feed(pcm[start : start + step]) for start in range(0, len(pcm), step)]
    assert all(any(packets[at : at + 3]) for at in range(len(packets) - 2))
    samples, rate = heard(b"".join(packets), format, sample_rate)
    assert len(samples) / rate > 1.7
    encoder.finish()


def test_a_whole_wav_header_tells_the_sizes() -> None:
    """44 bytes, and both sizes are right; an independent reader agrees."""
    data = encode(tone(0.1, 24000), 24000, "wav")
    assert len(data) == 44 + 4800
    assert struct.unpack_from("<4sI4s", data) == (b"RIFF", 4800 + 36, b"WAVE")
    assert struct.unpack_from("<4sI", data, 36) == (b"data", 4800)
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        assert (file.samplerate, file.channels, file.subtype) == (24000, 1, "PCM_16")


def test_a_streamed_wav_header_says_until_the_end() -> None:
    """The header is in the first packet, and its sizes are 0xFFFFFFFF."""
    packet = StreamEncoder("wav", 24000).feed(tone(0.1, 24000))
    assert len(packet) == 44 + 4800
    assert struct.unpack_from("<4sI4s", packet) == (b"RIFF", 0xFFFFFFFF, b"WAVE")
    assert struct.unpack_from("<4sI", packet, 36) == (b"data", 0xFFFFFFFF)


def flac_length(data: bytes) -> int:
    """Return the number of samples that STREAMINFO tells; 0 is unknown."""
    assert data[:4] == b"fLaC"
    return int.from_bytes(data[21:26]) & (1 << 36) - 1


def test_flac_tells_its_length_when_it_can() -> None:
    """A file holds the number of samples, a stream that it is unknown."""
    pcm = tone(0.5, 24000)
    assert flac_length(encode(pcm, 24000, "flac")) == len(pcm)
    assert flac_length(b"".join(streamed(pcm, 24000, "flac", 2400))) == 0


def test_mp3_has_a_xing_header_only_as_a_file() -> None:
    """A file tells its length in the first frame, a stream begins with sound; neither has ID3."""
    pcm = tone(0.5, 24000)
    whole, stream = encode(pcm, 24000, "mp3"), b"".join(streamed(pcm, 24000, "mp3", 2400))
    assert b"Info" in whole[:200] or b"Xing" in whole[:200]
    assert b"Info" not in stream
    assert b"Xing" not in stream
    for data in (whole, stream):
        assert data[0] == 0xFF
        assert data[1] & 0xE0 == 0xE0


def test_streamed_opus_has_pages_of_20_ms() -> None:
    """Each page moves the clock of 48 kHz by 960 samples."""
    data = b"".join(streamed(tone(0.5, 24000), 24000, "opus", 2400))
    pages = [at for at in range(len(data)) if data.startswith(b"OggS", at)]
    clock = [struct.unpack_from("<q", data, page + 6)[0] for page in pages[2:]]
    assert set(np.diff(clock[:-1])) == {960}


def test_aac_is_adts() -> None:
    """The sync word of ADTS, which players find anywhere in a stream."""
    data = encode(tone(0.5, 24000), 24000, "aac")
    assert data[0] == 0xFF
    assert data[1] & 0xF6 == 0xF0


def test_pcm_is_nothing_but_samples() -> None:
    """16 bits, little-endian, no header."""
    assert encode(np.array([0, 1, -1, 0.5], np.float32), 24000, "pcm") == struct.pack(
        "<4h", 0, 32767, -32767, 16384
    )


@pytest.mark.parametrize("format", G711)
def test_g711_is_that_of_another_library(format: str) -> None:
    """Every 16-bit sample becomes one byte, of the level that is nearest to it.

    libsndfile says what the levels are. Both drop the last bits before they choose, so close to
    the middle of two levels they may choose differently, and neither by more than those bits.
    """
    samples = np.arange(-32767, 32768)
    data = encode((samples / 32767).astype(np.float32), 8000, format)
    levels = decode_g711(bytes(range(256)), format).astype(int)
    nearest = np.abs(samples[:, None] - levels).min(axis=1)
    error = np.abs(decode_g711(data, format) - samples)
    assert len(data) == len(samples)
    assert (error - nearest).max() <= 6
    assert np.mean(error == nearest) > 0.98


@pytest.mark.parametrize(("format", "zero"), [("ulaw", 0xFF), ("alaw", 0xD5)])
def test_silence_on_the_line_is_silence(format: str, zero: int) -> None:
    """Of the two levels next to zero, the positive one. Source: ITU-T G.711, tables 1a and 2a."""
    assert set(encode(np.zeros(800, np.float32), 8000, format)) == {zero}


def test_loud_samples_are_clipped() -> None:
    """Too loud stays loud: no sample changes its sign."""
    pcm = np.array([2.0, -2.0, 1.0, -1.0, np.inf, 0.0], dtype=np.float32)
    read, _ = soundfile.read(io.BytesIO(encode(pcm, 8000, "wav")), dtype="int16")
    assert read.tolist() == [32767, -32767, 32767, -32767, 32767, 0]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("pcm", [np.array([0.0, np.nan]), np.zeros((2, 3))])
def test_what_is_no_sound_is_refused(pcm: np.ndarray, format: str) -> None:
    """NaN and stacks of channels are defects, not audio, and a stream outlives them."""
    with pytest.raises(ValueError, match="PCM"):
        encode(pcm.astype(np.float32), 24000, format)
    encoder = StreamEncoder(format, 24000)
    with pytest.raises(ValueError, match="PCM"):
        encoder.feed(pcm.astype(np.float32))
    encoder.feed(tone(0.1, 24000))
    assert encoder.finish() is not None


@pytest.mark.parametrize("format", FORMATS)
def test_no_sound_at_all_is_no_failure(format: str) -> None:
    """Nothing fed gives a header at most, and feeding nothing on the way changes nothing."""
    empty = np.zeros(0, np.float32)
    assert len(encode(empty, 24000, format)) < 300
    encoder = StreamEncoder(format, 24000)
    assert len(encoder.feed(empty) + encoder.feed(empty) + encoder.finish()) < 300


@pytest.mark.parametrize("format", FORMATS)
def test_a_finished_stream_takes_no_more(format: str) -> None:
    """Neither feed nor finish, and it says so."""
    encoder = StreamEncoder(format, 24000)
    encoder.finish()
    with pytest.raises(ValueError, match="finished"):
        encoder.feed(np.zeros(100, np.float32))
    with pytest.raises(ValueError, match="finished"):
        encoder.finish()


@pytest.mark.parametrize("format", FORMATS)
def test_a_stream_may_be_abandoned(format: str) -> None:
    """A listener who leaves costs nothing: no finish is needed, no crash follows."""
    for _ in range(20):
        StreamEncoder(format, 24000).feed(tone(0.1, 24000))


@pytest.mark.parametrize("format", FORMATS)
def test_equal_pcm_gives_equal_bytes(format: str) -> None:
    """The file holds nothing but the sound: no time, no chance, no version of a library."""
    pcm = speech(0.3, 24000)
    data = encode(pcm, 24000, format)
    assert data == encode(pcm, 24000, format)
    assert b"Lavf6" not in data
    assert b"Lavc6" not in data


@pytest.mark.parametrize(
    ("format", "sample_rate", "stored"),
    [
        ("wav", 12345, 12345),
        ("flac", 47999, 47999),
        ("ulaw", 12345, 12345),
        ("alaw", 8000, 8000),
        ("opus", 22050, 24000),
        ("opus", 24001, 48000),
        ("opus", 96000, 48000),
        ("mp3", 8000, 8000),
        ("mp3", 9000, 11025),
        ("aac", 24000, 24000),
        ("aac", 33000, 44100),
    ],
)
def test_a_codec_takes_the_nearest_rate_above(format: str, sample_rate: int, stored: int) -> None:
    """Formats with a list of rates store the next one up, the others any."""
    assert encoded_rate(format, sample_rate) == stored


def test_an_unknown_format_is_refused() -> None:
    """With the names of those there are."""
    with pytest.raises(ValueError, match=r"no format 'mp4'; there are wav, flac, mp3"):
        StreamEncoder("mp4", 24000)


def test_the_mime_types_are_those_of_players() -> None:
    """Players are told what they get."""
    assert dict(MIME_TYPES) == {
        "wav": "audio/wav",
        "flac": "audio/flac",
        "mp3": "audio/mpeg",
        "opus": "audio/ogg",
        "aac": "audio/aac",
        "pcm": "audio/pcm",
        "ulaw": "audio/PCMU",
        "alaw": "audio/PCMA",
    }


def test_importing_costs_nothing_heavy() -> None:
    """A fresh interpreter has neither torch nor a codec in memory until sound is handled."""
    script = (
        "import sys, higgs_worker.audio.encode, higgs_worker.audio.read, higgs_worker.audio.shape\n"
        "print(*sorted({'av', 'soxr', 'soundfile', 'scipy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "\n", done.stderr
