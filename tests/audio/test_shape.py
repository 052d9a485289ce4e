"""Shaping: rate, speed, loudness and edges change, and nothing else does."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.audio.shape import (
    StreamResampler,
    StreamSpeed,
    WholeLoudness,
    change_speed,
    loudness_lufs,
    match_loudness,
    ramp,
    resample,
)
from tests.audio.sounds import speech, tone

EMPTY = np.zeros(0, np.float32)
STANDARD_FILTERS = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585),
    (1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621),
)
"""At 48 kHz: b0, b1, b2, a1 and a2 of each. Source: ITU-R BS.1770-4, tables 1 and 2."""


def pitch_hz(pcm: np.ndarray, sample_rate: int) -> float:
    """Return the frequency that is strongest."""
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(spectrum.argmax() * sample_rate / len(pcm))


@pytest.mark.parametrize(("from_hz", "to_hz"), [(24000, 48000), (48000, 24000), (22050, 24000)])
def test_resampling_keeps_the_sound(from_hz: int, to_hz: int) -> None:
    """A tone at one rate becomes the same tone at the other."""
    resampled = resample(tone(1.0, from_hz), from_hz, to_hz)
    assert resampled.dtype == np.float32
    assert len(resampled) == to_hz
    inside = slice(to_hz // 10, -to_hz // 10)
    np.testing.assert_allclose(resampled[inside], tone(1.0, to_hz)[inside], atol=1e-3)


def test_resampling_to_the_same_rate_is_a_copy() -> None:
    """Nothing changes, and the result may be written to."""
    pcm = speech(0.1, 24000)
    resampled = resample(pcm, 24000, 24000)
    np.testing.assert_array_equal(resampled, pcm)
    assert not np.shares_memory(resampled, pcm)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(24000, 48000), (24000, 8000), (22050, 24000)])
@settings(max_examples=15, deadline=None)
@given(steps=st.lists(st.integers(0, 5000), max_size=12))
def test_resampling_a_stream_equals_the_whole(from_hz: int, to_hz: int, steps: list[int]) -> None:
    """Twins: pieces of any size, joined, are what `resample` gives."""
    pcm = speech(0.7, from_hz)
    stream = StreamResampler(from_hz, to_hz)
    pieces, start = [], 0
    for step in steps:
        pieces.append(stream.feed(pcm[start : start + step]))
        start += step
    pieces += [stream.feed(pcm[start:]), stream.finish()]
    np.testing.assert_allclose(np.concatenate(pieces), resample(pcm, from_hz, to_hz), atol=1e-4)


@pytest.mark.parametrize("hz", [4100, 5000, 7900, 11000])
def test_what_a_lower_rate_cannot_hold_is_gone(hz: int) -> None:
    """Above half the new rate a tone vanishes, 60 dB down, and nothing folds back below it."""
    assert np.abs(resample(tone(1.0, 24000, hz), 24000, 8000)[800:-800]).max() < 0.5e-3


def test_a_ramp_rises_smoothly() -> None:
    """From silence to full, steadily, half at half."""
    rising = ramp(100)
    assert rising[0] < 1e-3
    assert rising[-1] > 1 - 1e-3
    assert (np.diff(rising) > 0).all()
    assert rising[49:51].mean() == pytest.approx(0.5, abs=1e-3)


def test_a_ramp_and_its_reverse_sum_to_one() -> None:
    """So that a fade out over a fade in keeps the level of what both share."""
    np.testing.assert_allclose(ramp(240) + ramp(240)[::-1], 1, atol=1e-6)


@pytest.mark.parametrize("num_samples", [0, 1, 7])
def test_a_ramp_has_the_length_asked_for(num_samples: int) -> None:
    """Short ones too, and none at all."""
    assert len(ramp(num_samples)) == num_samples


@pytest.mark.parametrize("sample_rate", [8000, 24000, 48000])
@pytest.mark.parametrize("speed", [0.25, 0.4, 0.5, 0.9, 1.0, 1.3, 2.0, 3.0, 4.0])
def test_speed_changes_the_duration_and_not_the_pitch(speed: float, sample_rate: int) -> None:
    """The duration is exact, a tone keeps its pitch within 0.5 % and its level to the end."""
    changed = change_speed(tone(2.0, sample_rate, 250.0), sample_rate, speed)
    assert len(changed) == round(2 * sample_rate / speed)
    assert changed.dtype == np.float32
    assert pitch_hz(changed, sample_rate) == pytest.approx(250, rel=0.005, abs=0.5)
    tenths = changed[: len(changed) // 10 * 10].reshape(10, -1)
    np.testing.assert_allclose(np.sqrt(np.square(tenths).mean(axis=1)), 0.5 / 2**0.5, rtol=0.1)


@pytest.mark.parametrize("num_samples", [0, 1, 100, 2000])
@pytest.mark.parametrize("speed", [0.25, 0.8, 4.0])
def test_speed_takes_the_shortest_sounds(speed: float, num_samples: int) -> None:
    """Shorter than the window of the filter is still as long as promised."""
    changed = change_speed(tone(1.0, 24000)[:num_samples], 24000, speed)
    assert len(changed) == round(num_samples / speed)


@pytest.mark.parametrize("sample_rate", [8000, 24000, 44100])
@pytest.mark.parametrize("speed", [0.25, 0.37, 0.9, 1.0, 1.1, 2.0, 3.3, 4.0])
@settings(max_examples=4, deadline=None)
@given(steps=st.lists(st.integers(0, 5000), max_size=12))
def test_speed_in_a_stream_equals_the_whole(
    speed: float, sample_rate: int, steps: list[int]
) -> None:
    """Twins: pieces of any size, joined, are what `change_speed` gives, to the bit."""
    pcm = speech(0.7, sample_rate)
    stream = StreamSpeed(sample_rate, speed)
    pieces, start = [], 0
    for step in steps:
        pieces.append(stream.feed(pcm[start : start + step]))
        start += step
    pieces += [stream.feed(pcm[start:]), stream.finish()]
    np.testing.assert_array_equal(np.concatenate(pieces), change_speed(pcm, sample_rate, speed))


def test_speed_takes_single_samples() -> None:
    """The smallest pieces there are."""
    pcm = speech(0.1, 24000)
    stream = StreamSpeed(24000, 1.5)
    pieces = [stream.feed(pcm[at : at + 1]) for at in range(len(pcm))]
    joined = np.concatenate([*pieces, stream.finish()])
    np.testing.assert_array_equal(joined, change_speed(pcm, 24000, 1.5))


@pytest.mark.parametrize(
    ("speed", "most_s"), [(0.25, 0.08), (0.5, 0.08), (0.9, 0.08), (2.0, 0.08), (4.0, 0.2)]
)
def test_speed_holds_little_back(speed: float, most_s: float) -> None:
    """The first sound comes as early as promised, and what comes stays as close behind."""
    pcm, piece = speech(2.0, 24000), round(0.02 * 24000)
    stream, num_changed = StreamSpeed(24000, speed), 0
    for start in range(0, len(pcm), piece):
        num_changed += len(stream.feed(pcm[start : start + piece]))
        fed_s = (start + piece) / 24000
        if fed_s >= most_s:
            assert num_changed > 0
            assert num_changed / 24000 * speed > fed_s - most_s - 0.1


def test_a_stream_of_another_speed_may_be_abandoned() -> None:
    """A listener who leaves costs nothing: no finish is needed, no crash follows."""
    for _ in range(20):
        StreamSpeed(24000, 3.0).feed(tone(0.1, 24000))


@pytest.mark.parametrize("speed", [0.0, 0.24, 4.1, -1.0, math.nan, math.inf])
def test_speed_has_bounds(speed: float) -> None:
    """0.25 to 4, as the request promises."""
    with pytest.raises(ValueError, match="speed must be"):
        change_speed(tone(0.1, 24000), 24000, speed)


@pytest.mark.parametrize("sample_rate", [8000, 11025, 24000, 44100, 48000])
def test_a_full_scale_tone_is_3_below_zero(sample_rate: int) -> None:
    """BS.1770-4: 997 Hz at 0 dBFS in one channel is -3.01 LKFS; other rates agree to 0.05."""
    phase = 2 * np.pi * 997 * np.arange(25 * sample_rate) / sample_rate
    pcm = np.sin(phase).astype(np.float32)
    leeway = 0.01 if sample_rate == 48000 else 0.05
    assert loudness_lufs(pcm, sample_rate) == pytest.approx(-3.01, abs=leeway)
    assert loudness_lufs(0.1 * pcm, sample_rate) == pytest.approx(-23.01, abs=leeway)


def test_the_loudness_is_that_of_the_standard() -> None:
    """Both filters of BS.1770-4, run sample by sample at 48 kHz, and both gates."""
    pcm, rate = np.concatenate([speech(3.0, 48000), 0.05 * speech(2.0, 48000)]), 48000
    weighted = pcm.astype(np.float64)
    for b0, b1, b2, a1, a2 in STANDARD_FILTERS:
        x1 = x2 = y1 = y2 = 0.0
        out = np.empty(len(weighted))
        for at, x in enumerate(weighted.tolist()):
            y = b0 * x + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2
            x1, x2, y1, y2 = x, x1, y, y1
            out[at] = y
        weighted = out
    hops = np.square(weighted).reshape(-1, rate // 10).mean(axis=1)
    blocks = np.convolve(hops, np.full(4, 0.25), "valid")
    loud = blocks[-0.691 + 10 * np.log10(blocks) > -70]
    loud = loud[10 * np.log10(loud) > 10 * np.log10(loud.mean()) - 10]
    expected = -0.691 + 10 * np.log10(loud.mean())
    assert loudness_lufs(pcm, rate) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("gain", [0.02, 1.0, 30.0])
def test_loudness_follows_the_level(gain: float) -> None:
    """Twice as loud is 6.02 LU more, beyond full scale too."""
    pcm = speech(3.0, 24000)
    expected = loudness_lufs(pcm, 24000) + 20 * math.log10(gain)
    assert loudness_lufs(np.float32(gain) * pcm, 24000) == pytest.approx(expected, abs=0.02)


def test_pauses_do_not_make_speech_quieter() -> None:
    """The gate: silence between is not counted, nor is a murmur far below."""
    pcm, pause = tone(5.0, 24000), np.zeros(24000 * 5, np.float32)
    alone = loudness_lufs(pcm, 24000)
    assert loudness_lufs(np.concatenate([pcm, pause]), 24000) == pytest.approx(alone, abs=0.2)
    murmur = np.concatenate([pcm, 0.01 * pcm])
    assert loudness_lufs(murmur, 24000) == pytest.approx(alone, abs=0.2)


def test_a_short_sound_has_a_loudness() -> None:
    """Less than a block of 400 ms measures as the same sound held for longer."""
    assert loudness_lufs(tone(0.1, 24000), 24000) == pytest.approx(
        loudness_lufs(tone(2.0, 24000), 24000), abs=0.1
    )


@pytest.mark.parametrize("pcm", [EMPTY, np.zeros(24000, np.float32), 1e-5 * tone(1.0, 24000)])
def test_silence_has_no_loudness_and_stays(pcm: np.ndarray) -> None:
    """Minus infinity, and nothing is made of it."""
    assert loudness_lufs(pcm, 24000) == -math.inf
    np.testing.assert_array_equal(match_loudness(pcm, 24000, -16), pcm)


@pytest.mark.parametrize("target", [-40.0, -23.0, -16.0])
def test_loudness_is_matched(target: float) -> None:
    """What is measured afterwards is what was asked for."""
    matched = match_loudness(speech(3.0, 24000), 24000, target)
    assert matched.dtype == np.float32
    assert loudness_lufs(matched, 24000) == pytest.approx(target, abs=0.05)


def test_loudness_in_pieces_equals_the_whole() -> None:
    """Twins; and nothing comes before the last sample is known."""
    pcm, stage = speech(1.0, 24000), WholeLoudness(24000, -20)
    assert not len(np.concatenate([stage.feed(pcm[:5000]), stage.feed(pcm[5000:])]))
    np.testing.assert_array_equal(stage.finish(), match_loudness(pcm, 24000, -20))
    assert not len(WholeLoudness(24000, -20).finish())


@pytest.mark.parametrize("gain", [0.05, 1.0, 20.0])
def test_loudness_never_costs_the_peak(gain: float) -> None:
    """Asked for more than fits, it stops where the largest sample reaches the limit."""
    matched = match_loudness(np.float32(gain) * speech(1.0, 24000), 24000, -5)
    assert np.abs(matched).max() == pytest.approx(0.97, abs=1e-5)
