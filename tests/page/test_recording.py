"""What the page says of a recording, before it is sent, is what the server does with it."""

import base64
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from higgs_worker.audio import encode, recording
from higgs_worker.audio.pcm import PCM
from higgs_worker.audio.read import read
from higgs_worker.errors import InvalidAudio
from higgs_worker.voices.library import PRESETS

if TYPE_CHECKING:
    from playwright.sync_api import Page

RATE = 24000
VOICES = ["bram", "clara", "edda", "pippa"]

IMPORT = """
    const { fromPcm16 } = await import("/page/wav.js");
    const recording = await import("/page/recording.js");
    const samples = fromPcm16(Uint8Array.from(atob(data), (each) => each.charCodeAt(0)));
"""
READ_FILE = """async (data) => {
    const { readFile, judge } = await import("/page/recording.js");
    const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
    const { samples, sampleRate } = await readFile(new File([bytes], "voice"));
    return { sampleRate, middle: samples[samples.length >> 1], ...judge(samples, sampleRate) };
}"""


def speech(name: str = "clara") -> PCM:
    """Return a built-in voice's recording, without its quiet ends."""
    with zipfile.ZipFile(PRESETS / f"{name}.zip") as voice:
        pcm = read(voice.read("voice.wav"), sample_rate=RATE, min_s=1, max_s=60)
    return pcm[round(0.2 * RATE) : -round(0.2 * RATE)]


def noise(level_db: float, seconds: float) -> NDArray[np.float64]:
    """Return white noise at an RMS level."""
    return 10 ** (level_db / 20) * np.random.default_rng(1).normal(size=round(seconds * RATE))


def with_ends(pcm: PCM, seconds: float, noise_db: float) -> PCM:
    """Return a recording with noise all over it, and the noise alone at both ends."""
    longer = np.pad(pcm, round(seconds * RATE))
    return (longer + noise(noise_db, len(longer) / RATE)).astype(np.float32)


def base64_pcm(pcm: PCM) -> str:
    """Return samples as the page reads them."""
    return base64.b64encode((np.clip(pcm, -1, 1) * 32767).astype("<i2").tobytes()).decode()


def judge(page: "Page", pcm: PCM) -> dict[str, Any]:
    """Return what the page says of a recording."""
    code = f"async (data) => {{ {IMPORT} return recording.judge(samples, {RATE}); }}"
    judged: dict[str, Any] = page.evaluate(code, base64_pcm(pcm))
    return judged


def trimmed_s(page: "Page", pcm: PCM) -> float:
    """Return how long a recording is once the page has trimmed it."""
    code = f"async (data) => {{ {IMPORT} return recording.trim(samples, {RATE}).length; }}"
    return float(page.evaluate(code, base64_pcm(pcm))) / RATE


@pytest.mark.parametrize("noise_db", [-90, -55])
def test_silence_is_cut_as_the_server_cuts_it(blank_page: "Page", noise_db: float) -> None:
    """Both find the same speech; the server leaves 0.05 s more at each end, and up to a frame."""
    for name in VOICES:
        pcm = with_ends(speech(name), 1.5, noise_db)
        server_s = len(recording.prepare(pcm, RATE, -23)) / RATE
        assert trimmed_s(blank_page, pcm) == pytest.approx(server_s - 0.1, abs=0.1), name


def test_what_hums_and_lies_off_zero_is_cut_as_well(blank_page: "Page") -> None:
    """What the server filters out does not count as sound."""
    pcm = 0.5 * with_ends(speech(), 1.5, -70)
    seconds = np.arange(len(pcm)) / RATE
    hum = (0.05 * np.sin(2 * np.pi * 50 * seconds) + 0.1).astype(np.float32)
    expected_s = trimmed_s(blank_page, pcm)
    assert expected_s < len(pcm) / RATE - 2
    assert trimmed_s(blank_page, pcm + hum) == pytest.approx(expected_s, abs=0.1)


def test_where_noise_and_speech_are_alike_nothing_is_cut(blank_page: "Page") -> None:
    """Better too much than a word too little."""
    pcm = with_ends(speech(), 1, -25)
    assert trimmed_s(blank_page, pcm) == len(pcm) / RATE


def test_a_good_recording_has_no_problems(blank_page: "Page") -> None:
    """The built-in voices, in a quiet room."""
    for name in VOICES:
        judged = judge(blank_page, with_ends(speech(name), 0.5, -65))
        assert judged["problems"] == [], name
        assert judged["noiseDb"] == pytest.approx(-65, abs=3)
        assert -35 < judged["speechDb"] < -10
        assert judged["speechDb"] < judged["peakDb"] <= 0


def test_each_problem_is_found(blank_page: "Page") -> None:
    """By itself, and with the length that was judged."""
    for problems, pcm in [
        (["short"], speech()[RATE : round(1.9 * RATE)]),
        (["long"], np.tile(speech(), 12)[: 61 * RATE]),
        (["silent"], np.zeros(2 * RATE, np.float32)),
        (["silent"], noise(-40, 2).astype(np.float32)),
        (["short", "silent"], np.zeros(0, np.float32)),
        (["quiet"], 0.02 * with_ends(speech(), 0.5, -65)),
        (["noisy"], with_ends(speech(), 0.5, -36)),
        (["clipped"], np.clip(12 * speech(), -0.99, 0.99)),
    ]:
        judged = judge(blank_page, pcm)
        assert judged["problems"] == problems
        assert judged["durationS"] == len(pcm) / RATE


def test_what_is_silent_is_refused_by_the_server(blank_page: "Page") -> None:
    """And what is not is taken: nobody is sent away by one of the two alone."""
    noises = [noise(level_db, 2).astype(np.float32) for level_db in (-90, -60, -40, -20)]
    spoken = [scale * speech()[: 2 * RATE] for scale in (0.01, 0.1, 1)]
    words = [with_ends(speech()[RATE : round((1 + s) * RATE)], 1, -60) for s in (0.1, 1)]
    answers = []
    for pcm in [*noises, *spoken, *words]:
        try:
            recording.prepare(pcm, RATE, -23)
            refused = False
        except InvalidAudio:
            refused = True
        assert ("silent" in judge(blank_page, pcm)["problems"]) == refused
        answers.append(refused)
    assert answers == [True] * 4 + [False] * 3 + [True, False]


def test_loud_low_notes_are_not_taken_for_clipped(blank_page: "Page") -> None:
    """A round top that touches full scale was not cut off."""
    seconds = np.arange(2 * RATE) / RATE
    pcm = (np.sin(2 * np.pi * 85 * seconds) * (seconds % 0.5 > 0.2)).astype(np.float32)
    assert "clipped" not in judge(blank_page, pcm)["problems"]


@pytest.mark.parametrize("format", ["wav", "mp3", "flac", "opus"])
def test_a_file_is_read_for_a_preview(blank_page: "Page", format: str) -> None:
    """Whatever the browser knows, at the rate of the model."""
    pcm = speech()[: 2 * RATE]
    data = base64.b64encode(encode.encode(pcm, RATE, format)).decode()
    result = blank_page.evaluate(READ_FILE, data)
    assert result["sampleRate"] == RATE
    assert result["durationS"] == pytest.approx(2, abs=0.1)
    assert result["peakDb"] == pytest.approx(20 * np.log10(np.abs(pcm).max()), abs=1)


def test_channels_are_mixed(blank_page: "Page", tmp_path: Path) -> None:
    """A preview is mono, as a voice is."""
    left = 0.5 * np.ones(RATE)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, -0.5 * left], axis=1), RATE)
    data = base64.b64encode((tmp_path / "stereo.wav").read_bytes()).decode()
    result = blank_page.evaluate(READ_FILE, data)
    assert result["durationS"] == 1
    assert result["middle"] == pytest.approx(0.125, abs=1e-3)


@pytest.mark.parametrize(("size", "reason"), [(100, "Unable to decode"), (20_000_001, "too large")])
def test_what_cannot_be_read_is_refused(blank_page: "Page", size: int, reason: str) -> None:
    """A format that the browser does not know, and a file that would take too much memory."""
    with pytest.raises(Exception, match=reason):
        blank_page.evaluate(
            """async (size) => {
              const { readFile } = await import("/page/recording.js");
              await readFile(new File([new Uint8Array(size)], "voice"));
            }""",
            size,
        )
