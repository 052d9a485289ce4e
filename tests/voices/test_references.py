"""Reference voices: read once, kept by content, heard in the speech."""

import base64
import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from higgs_worker.api.voice_spec import VoiceSpec
from higgs_worker.audio import encode
from higgs_worker.audio.read import read
from higgs_worker.errors import InvalidAudio, UnknownVoice, UnusableReference
from higgs_worker.voices.library import PRESETS, VoiceLibrary
from higgs_worker.voices.references import References


def babble(seed: int, duration_s: float = 2.0, silence_s: float = 0.3) -> bytes:
    """Make a WAV of modulated noise, with silence around it."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(24000 * duration_s)) / 24000
    pcm = rng.normal(size=len(time)) * 0.1 * (1 + np.sin(2 * np.pi * 4 * time))
    quiet = np.zeros(int(24000 * silence_s))
    return encode.encode(np.concatenate([quiet, pcm, quiet]).astype(np.float32), 24000, "wav")


def choice(wav: bytes, text: str = "What I said.") -> VoiceSpec:
    """Choose a recording, sent as base64."""
    return VoiceSpec(audio=base64.b64encode(wav).decode(), text=text)


class CountingEncoder:
    """Gives codes of the loudness of each frame, and counts its calls."""

    def __init__(self) -> None:
        self.num_calls = 0

    def __call__(self, pcm: NDArray[np.float32]) -> NDArray[np.int64]:
        """Encode at 25 frames a second."""
        self.num_calls += 1
        frames = pcm[: len(pcm) // 960 * 960].reshape(-1, 960)
        levels = (np.abs(frames).mean(1) * 1000).astype(np.int64) % 1024
        return np.repeat(levels[:, None], 8, axis=1)


def references(volume: Path, encoder: CountingEncoder, codec_id: str = "codec") -> References:
    """Keep voices on a volume."""
    library = VoiceLibrary(volume / "voices")
    return References(library, encoder, codec_id, 60, 10_000_000, read)


def test_the_second_use_encodes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Codes are found again in memory, and after a restart on the volume."""
    caplog.set_level(logging.INFO)
    encoder = CountingEncoder()
    first = references(tmp_path, encoder)
    codes = first.resolve(choice(babble(1))).codes
    assert np.array_equal(first.resolve(choice(babble(1))).codes, codes)
    restarted = references(tmp_path, encoder)
    assert np.array_equal(restarted.resolve(choice(babble(1))).codes, codes)
    assert encoder.num_calls == 1
    assert [record.message for record in caplog.records].count("encoded a reference") == 1
    restarted.resolve(choice(babble(2)))
    assert encoder.num_calls == 2


def test_codes_of_another_codec_do_not_count(tmp_path: Path) -> None:
    """A codec that changed encodes anew."""
    encoder = CountingEncoder()
    references(tmp_path, encoder, "one").resolve(choice(babble(1)))
    references(tmp_path, encoder, "two").resolve(choice(babble(1)))
    assert encoder.num_calls == 2


def test_a_damaged_entry_is_made_again(tmp_path: Path) -> None:
    """What the volume garbled is not trusted."""
    encoder = CountingEncoder()
    codes = references(tmp_path, encoder).resolve(choice(babble(1))).codes
    for path in (tmp_path / "voices" / "codes").rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(bytes(data))
    assert np.array_equal(references(tmp_path, encoder).resolve(choice(babble(1))).codes, codes)
    assert encoder.num_calls == 2


def test_a_recording_is_brought_into_shape(tmp_path: Path) -> None:
    """Silence at the ends and the level of a recording do not reach the codes."""
    kept = references(tmp_path, CountingEncoder())
    codes = kept.resolve(choice(babble(1, silence_s=1.0))).codes
    assert 2.0 * 25 <= len(codes) <= 2.5 * 25


def test_a_saved_voice_is_used_by_name(tmp_path: Path) -> None:
    """Saving makes the codes at once; a name then needs no encoder."""
    encoder = CountingEncoder()
    kept = references(tmp_path, encoder)
    saved = kept.save("Anna", choice(babble(1)), licence="our own")
    assert saved.info.name == "Anna"
    reference = references(tmp_path, encoder).resolve(VoiceSpec(name="anna"))
    assert reference.text == "What I said."
    assert len(reference.codes) > 40
    assert encoder.num_calls == 1


@pytest.mark.parametrize(
    ("voice", "error", "message"),
    [
        (VoiceSpec(name="nobody"), UnknownVoice, "nobody"),
        (VoiceSpec(audio="/etc/passwd", text="a"), UnusableReference, "http"),
        (VoiceSpec(audio="file:///etc/passwd", text="a"), UnusableReference, "http"),
        (VoiceSpec(audio="http://127.0.0.1/a.wav", text="a"), UnusableReference, "127.0.0.1"),
        (choice(b"not audio at all"), InvalidAudio, "audio"),
        (choice(babble(1, 0.4, 0.0)), InvalidAudio, "0.4"),
        (choice(babble(1, 0.2, 1.0)), InvalidAudio, "needs 0.3 s"),
        (choice(babble(1, 61.0, 0.0)), InvalidAudio, "60"),
        (choice(babble(1, 0.0, 1.0)), InvalidAudio, "silen"),
    ],
    ids=["unknown", "path", "file", "loopback", "text", "short", "mostly quiet", "long", "silent"],
)
def test_what_cannot_serve_is_refused(
    tmp_path: Path, voice: VoiceSpec, error: type[Exception], message: str
) -> None:
    """Each fault is one clear error, and nothing is encoded."""
    encoder = CountingEncoder()
    with pytest.raises(error) as caught:
        references(tmp_path, encoder).resolve(voice)
    assert message in str(caught.value)
    assert encoder.num_calls == 0


LONG_TEXT = "The morning train was late again, so I sat by the window. " * 28
"""Takes 119 s to say, nearly."""


def test_a_transcript_of_another_recording_is_refused(tmp_path: Path) -> None:
    """In a request, from the cache too, and when a voice is saved; what to do stands in it."""
    kept = references(tmp_path, CountingEncoder())
    for ask in (kept.resolve, kept.resolve, lambda voice: kept.save("Anna", voice)):
        with pytest.raises(InvalidAudio, match="transcript of exactly this recording") as caught:
            ask(choice(babble(1), LONG_TEXT))
        assert caught.value.details["recording_s"] == pytest.approx(2.5, abs=0.1)
        assert caught.value.details["transcript_s"] == pytest.approx(116, abs=5)
    assert not kept.library.list()
    assert kept.resolve(choice(babble(1))).warnings == ()


def test_a_doubtful_transcript_is_warned_of(tmp_path: Path) -> None:
    """By a request and by what saves a voice; a voice that is there already is not refused."""
    kept = references(tmp_path, CountingEncoder())
    doubtful = choice(babble(1), "The morning train was late again, so I sat by the window. " * 2)
    (warning,) = kept.resolve(doubtful).warnings
    assert "lasts 2.4 s" in warning
    assert kept.save("Anna", doubtful).warnings == (warning,)
    kept.library.add("Bert", kept.library.get("Anna").wav, LONG_TEXT)
    for name in ("Anna", "Bert"):
        (warning,) = kept.resolve(VoiceSpec(name=name)).warnings
        assert f"the voice '{name}'" in warning


def test_a_faint_recording_keeps_its_words(tmp_path: Path) -> None:
    """A voice at RMS 0.0014 has the frames that it has at 50 times that, and so has one at 0.0007.

    A threshold at -45 dBFS took 0.9 s of such a voice, and all of the other.
    """
    preset = VoiceLibrary(tmp_path, presets=PRESETS).get("clara")
    pcm = read(preset.wav, sample_rate=24000, min_s=0, max_s=60)
    silence = np.zeros(24000, np.float32)
    pcm = np.concatenate([silence, pcm, silence])
    kept = references(tmp_path, CountingEncoder())
    codes = [
        kept.resolve(choice(encode.encode(gain * pcm, 24000, "wav"), preset.text)).codes
        for gain in (1.0, 0.02, 0.01)
    ]
    assert len(codes[0]) >= 25 * preset.duration_s
    for faint in codes[1:]:
        np.testing.assert_allclose(faint, codes[0], atol=5)


def test_a_saved_voice_is_encoded_as_it_is_stored(tmp_path: Path) -> None:
    """It was prepared once: a short one is not too short, and its codes are the recording's."""
    kept = references(tmp_path, CountingEncoder())
    short = choice(babble(1, 0.4, 1.0), "Yes.")
    assert kept.save("Anna", short).info.duration_s < 1
    by_name = kept.resolve(VoiceSpec(name="Anna")).codes
    np.testing.assert_allclose(by_name, kept.resolve(short).codes, atol=1)
