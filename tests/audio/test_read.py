"""Reading: whatever is sent, it becomes sound or one clear refusal, soon."""

import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from higgs_worker.audio.encode import StreamEncoder, encode
from higgs_worker.audio.read import read
from higgs_worker.audio.shape import resample
from higgs_worker.errors import InvalidAudio, InvalidRequest
from tests.audio.recordings import SPEECH, VALID, film, mutated, muxed, sound_file
from tests.audio.sounds import likeness, speech


def read_voice(data: bytes) -> np.ndarray:
    """Read as a reference voice is read."""
    return read(data, sample_rate=24000, min_s=1.0, max_s=30.0)


def refusal(data: bytes) -> str:
    """Return what is said to somebody who sent `data`."""
    with pytest.raises(InvalidAudio) as caught:
        read_voice(data)
    assert caught.value.code == "invalid_audio"
    return caught.value.message


@pytest.mark.parametrize("kind", VALID)
def test_a_file_is_known_by_its_content(kind: str) -> None:
    """Every format we name gives its sound at the rate asked for; no name is ever passed."""
    pcm = read_voice(VALID[kind])
    assert pcm.dtype == np.float32
    # AAC adds its run-up and padding, 1024 samples each; Vorbis of libsndfile loses half a block.
    assert len(pcm) / 24000 == pytest.approx(2.0, abs=0.09)
    # AMR keeps the ear's impression of a voice and not its wave.
    assert likeness(pcm, SPEECH) > (0.5 if kind == "amr" else 0.95)


@pytest.mark.parametrize(
    "subtype",
    ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW", "MS_ADPCM"],
)
def test_every_usual_wav_is_read(subtype: str) -> None:
    """Integers and floats of every width, and the codecs of telephones."""
    pcm = read_voice(sound_file(SPEECH, subtype=subtype))
    assert np.square(pcm[: len(SPEECH)] - SPEECH).mean() < 0.01**2


def test_a_film_gives_its_sound() -> None:
    """Pictures are passed by."""
    assert len(read_voice(muxed("mp4", "aac", "mpeg4"))) / 24000 == pytest.approx(2, abs=0.05)


def test_what_we_stream_we_can_read() -> None:
    """A WAV header that says "until the end" is no obstacle."""
    encoder = StreamEncoder("wav", 24000)
    pcm = read_voice(encoder.feed(SPEECH) + encoder.finish())
    np.testing.assert_allclose(pcm, SPEECH, atol=1e-4)


def test_a_telephone_is_good_enough() -> None:
    """8 kHz is accepted and resampled."""
    pcm = read_voice(sound_file(speech(2.0, 8000), 8000, subtype="ULAW"))
    assert len(pcm) == 48000
    assert likeness(pcm, resample(speech(2.0, 8000), 8000, 24000)) > 0.95


NOISE = np.random.default_rng(3).normal(0, 1e-3, len(SPEECH)).astype(np.float32)


@pytest.mark.parametrize(
    ("channels", "mono"),
    [
        ([SPEECH, SPEECH], SPEECH),
        ([SPEECH, SPEECH / 2], SPEECH * 0.75),
        ([0 * SPEECH] * 5 + [SPEECH], SPEECH),
        ([SPEECH, NOISE], SPEECH),
        ([0 * SPEECH + 0.5, SPEECH], SPEECH),
        ([SPEECH, -SPEECH], SPEECH),
        ([-0.9 * SPEECH, SPEECH], SPEECH),
    ],
    ids=["equal", "louder", "one of six", "noise", "a constant", "opposite", "nearly opposite"],
)
def test_channels_are_mixed_so_that_nothing_is_lost(
    channels: list[np.ndarray], mono: np.ndarray
) -> None:
    """The mean of those that hold sound; of opposite phases one is enough."""
    for container in ("WAV", "FLAC"):
        pcm = read_voice(sound_file(np.stack(channels, axis=1), container=container))
        np.testing.assert_allclose(pcm, mono, atol=1e-3)


@pytest.mark.parametrize("gain", [3.0, 32768.0])
def test_a_float_file_over_full_scale_is_scaled_down(gain: float) -> None:
    """Its shape is kept rather than cut off."""
    pcm = read_voice(sound_file(SPEECH * gain, subtype="FLOAT"))
    np.testing.assert_allclose(pcm, SPEECH / np.abs(SPEECH).max(), atol=1e-3)


@pytest.mark.parametrize(
    "data",
    [
        b"hello, this is a letter and no sound",
        b"\0" * 10_000,
        np.random.default_rng(1).bytes(50_000),
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0" + bytes(100),
        b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(100),
        b"%PDF-1.7\n" + bytes(100),
        b"PK\x03\x04" + bytes(100),
        sound_file(SPEECH, container="AU"),
        muxed("mpegts", "aac"),
        muxed("avi", "mp3"),
        bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(100),
    ],
)
def test_what_is_not_taken_is_refused(data: bytes) -> None:
    """Whatever else FFmpeg could open, with the formats that we do."""
    assert "send WAV, FLAC, MP3" in refusal(data)


def test_an_empty_file_is_refused() -> None:
    """Nothing was sent, and that is what is said."""
    assert "empty (0 bytes)" in refusal(b"")


@pytest.mark.parametrize("page", [b"\n <!DOCTYPE html><html>", b"\xef\xbb\xbf<HTML lang=en>"])
def test_a_web_page_is_named(page: bytes) -> None:
    """The usual mistake: the address of a page about the file."""
    assert "web page (HTML)" in refusal(page + b"Please log in" * 100)


@pytest.mark.parametrize("container", ["WAV", "FLAC", "MP3", "OGG", "AIFF"])
def test_silence_is_refused(container: str) -> None:
    """A voice cannot be learned from it, nor from a constant or the last bit of a converter."""
    assert "silent" in refusal(sound_file(0 * SPEECH, container=container))
    if container in ("WAV", "FLAC"):
        bits = np.random.default_rng(1).integers(-1, 2, len(SPEECH)).astype(np.int16)
        assert "silent" in refusal(sound_file(bits, container=container))
        assert "silent" in refusal(sound_file(0 * bits + 500, container=container))


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_quiet_recording_is_not_silent(subtype: str) -> None:
    """At a peak of -70 dBFS it has the shape of a loud one, and it is for others to judge it."""
    quiet = (SPEECH * 10**-3.5 / np.abs(SPEECH).max()).astype(np.float32)
    assert likeness(read_voice(sound_file(quiet, subtype=subtype)), SPEECH) > 0.97


def test_too_short_says_both_numbers() -> None:
    """What was sent and what is needed."""
    assert "0.20 s long and at least 1 s" in refusal(sound_file(SPEECH[:4800]))


@pytest.mark.parametrize("container", ["WAV", "FLAC"])
def test_too_long_says_both_numbers(container: str) -> None:
    """What was sent and what is taken, without decoding all of it."""
    data = sound_file(np.zeros(600 * 8000, np.int16), 8000, container)
    assert "600.0 s long and at most 30 s" in refusal(data)


def test_the_longest_that_is_taken_may_be_padded() -> None:
    """30 s stay 30 s, even where a codec rounds up to a frame."""
    pcm = read_voice(encode(speech(30.0, 24000), 24000, "aac"))
    assert len(pcm) / 24000 == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_no_numbers_are_refused(bad: float, subtype: str) -> None:
    """One in two seconds is enough: it would spread over everything computed from it."""
    pcm = SPEECH.copy()
    pcm[20_000] = bad
    assert "NaN or infinite" in refusal(sound_file(pcm, subtype=subtype))


@pytest.mark.parametrize(
    ("pcm", "sample_rate", "named"),
    [
        (np.stack([SPEECH] * 9, axis=1), 24000, "9 channels"),
        (SPEECH[:2000], 1000, "1000 Hz"),
        (SPEECH, 500_000, "500000 Hz"),
    ],
)
def test_channels_and_rate_have_bounds(pcm: np.ndarray, sample_rate: int, named: str) -> None:
    """Up to 8 channels, 4 to 384 kHz."""
    assert named in refusal(sound_file(pcm, sample_rate))


@pytest.mark.parametrize("codec", ["ac3", "mp2"])
def test_an_unusual_codec_is_refused(codec: str) -> None:
    """A container that we take does not smuggle in a decoder that we do not."""
    assert f"({codec})" in refusal(muxed("matroska", codec))


def test_a_film_without_sound_is_refused() -> None:
    """It says that there is no audio in it."""
    assert "no audio stream" in refusal(muxed("mp4", None, "mpeg4"))


def test_a_bomb_is_not_unpacked() -> None:
    """An hour of silence in 50 kB: decoding stops at the longest duration that is taken."""
    bomb = bytearray(sound_file(np.zeros(3600 * 4000, np.int16), 4000, "FLAC"))
    assert len(bomb) < 60_000
    bomb[21] &= 0xF0
    bomb[22:26] = bytes(4)  # the header no longer tells the length
    started = time.process_time()
    assert "over 30." in refusal(bytes(bomb))
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("kind", VALID)
def test_a_file_cut_short_is_refused_where_it_tells(kind: str) -> None:
    """A transcript belongs to the whole. Ogg, AAC and AMR do not tell, and give what is there."""
    data = VALID[kind][: len(VALID[kind]) * 3 // 4]
    if kind in ("vorbis", "opus", "aac", "amr"):
        pcm = read(data, sample_rate=24000, min_s=0.1, max_s=30.0)
        assert 0.5 < len(pcm) / 24000 < 1.8
    else:
        assert "cut short" in refusal(data)


@pytest.mark.parametrize("kind", ["wav", "rf64", "caf", "aiff", "flac", "mp3"])
def test_both_durations_are_told(kind: str) -> None:
    """Of half an upload; what a codec or a page pads is no such thing."""
    whole = np.tile(SPEECH, 5)
    data = sound_file(whole, container=kind.upper())
    assert "10.0 s of sound and" in refusal(data[: len(data) * 4 // 5])
    assert len(read_voice(data[: len(data) - len(data) // 100])) / 24000 > 9.7


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFF0, 0x80000000])
def test_an_open_length_promises_nothing(size: int) -> None:
    """What writes a stream does not know its length; what it writes instead is not believed."""
    data = bytearray(VALID["wav"])
    struct.pack_into("<I", data, data.index(b"data") + 4, size)
    assert len(read_voice(bytes(data))) == len(SPEECH)


def test_the_first_track_with_sound_is_read() -> None:
    """Recorders write a track for every microphone, whether it is plugged in or not."""
    pcm = read_voice(film([0 * SPEECH, SPEECH, SPEECH[::-1]]))
    np.testing.assert_allclose(pcm, SPEECH, atol=1e-4)
    assert "silent" in refusal(film([0 * SPEECH, 0 * SPEECH]))


@pytest.mark.parametrize("kind", VALID)
def test_a_file_cut_to_its_header_is_refused(kind: str) -> None:
    """Nothing to decode is a refusal and no empty sound."""
    assert refusal(VALID[kind][:64])


@pytest.mark.parametrize(
    "playlist",
    [
        "ffconcat version 1.0\nfile '{}'\n",
        "ffconcat version 1.0\nfile 'file:{}'\n",
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{}\n#EXT-X-ENDLIST\n",
        '<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation><BaseURL>{}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>",
        "[playlist]\nFile1={}\nNumberOfEntries=1\n",
    ],
)
def test_a_playlist_opens_nothing(
    playlist: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It points to a good file, by path and by name; had it been opened, it would have played."""
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "voice.wav"
    target.write_bytes(VALID["wav"])
    for address in (str(target), target.name):
        assert "send WAV" in refusal(playlist.format(address).encode())


def test_a_refusal_is_an_invalid_request() -> None:
    """The caller sent it, so the caller hears of it."""
    assert issubclass(InvalidAudio, InvalidRequest)


def check_outcome(data: bytes) -> None:
    """Check that reading ends soon, in sound that keeps its promises or in a refusal."""
    started = time.process_time()
    try:
        pcm = read(data, sample_rate=24000, min_s=0.1, max_s=3.0)
    except InvalidAudio:
        pass
    else:
        assert np.isfinite(pcm).all()
        assert np.abs(pcm).max() <= 1
        assert 0.1 <= len(pcm) / 24000 <= 3.1
    assert time.process_time() - started < 2


@pytest.mark.parametrize("kind", VALID)
def test_damage_gives_sound_or_a_refusal(kind: str) -> None:
    """25 seeded mutations of every format, see `test_bombs.py` for more."""
    chance = np.random.default_rng(len(kind) * 1000 + sum(kind.encode()))
    for _ in range(25):
        check_outcome(mutated(VALID[kind], chance))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=2000))
@example(b"RIFF\xff\xff\xff\xffWAVEfmt ")
@example(b"fLaC")
@example(b"OggS")
@example(b"ID3\x04\0\0\x7f\x7f\x7f\x7f")
@example(b"\xff\xf1")
@example(b"\x1aE\xdf\xa3")
@example(b"\0\0\0\x20ftypM4A ")
def test_any_bytes_give_sound_or_a_refusal(data: bytes) -> None:
    """Whatever it begins with."""
    check_outcome(data)
