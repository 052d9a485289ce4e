"""Make the built-in voices with a model whose licence allows us to ship them.

    .venv/bin/uv pip install -c requirements-dev.lock -e '.[training]'
    python training/presets.py

hibari-tts (Apache-2.0, see its NOTICE) has one voice in its package. It exposes the spectrum and
pitch of each frame before synthesis. So other voices come from the same model by a change of pitch,
intonation and resonances. Whisper tiny.en transcribed each voice as the text below, word for word.
"""

from dataclasses import dataclass

import numpy as np
from hibari import Hibari, dsp
from numpy.typing import NDArray

from higgs_worker.audio import encode, recording
from higgs_worker.voices.library import PRESETS, VoiceLibrary
from higgs_worker.voices.references import LOUDNESS_LUFS
from higgs_worker.voices.voice_file import SAMPLE_RATE

LICENCE = (
    "Synthetic: made by training/presets.py with hibari-tts 0.2.1 (Apache-2.0, Copyright 2026 "
    "Maureese Williams; distilled from Kokoro-82M, Apache-2.0); free to use under Apache-2.0."
)
LOWEST_HZ = 40.0
"""A lower pitch means that a frame has none."""


@dataclass(frozen=True, slots=True)
class PresetVoice:
    """A built-in voice, as its differences from the model's own."""

    name: str
    description: str
    text: str
    pitch: float = 1.0
    resonance: float = 1.0
    """Factor of every resonance; below 1 for a longer vocal tract."""
    liveliness: float = 1.0
    """Exponent of the pitch's deviation from its mean; 1 is the model's own."""
    pace: float = 1.0


VOICES = (
    PresetVoice(
        "clara",
        "A warm, even voice of middle height.",
        "The morning train was late again, so I sat by the window and read the paper twice. "
        "Then the rain began.",
    ),
    PresetVoice(
        "edda",
        "A calm, darker voice that takes its time.",
        "We walked along the harbor until the lamps came on, and nobody felt like going home "
        "before supper.",
        pitch=0.84,
        resonance=0.95,
        liveliness=0.9,
        pace=0.95,
    ),
    PresetVoice(
        "bram",
        "A low, quiet voice.",
        "If you open the old gate slowly, it hardly makes a sound, and the dog on the other side "
        "goes on sleeping.",
        pitch=0.58,
        resonance=0.88,
        liveliness=0.95,
    ),
    PresetVoice(
        "pippa",
        "A bright, lively voice.",
        "Guess what I found behind the garden shed this morning! Three little kittens, all of them "
        "fast asleep.",
        pitch=1.22,
        resonance=1.09,
        liveliness=1.1,
        pace=1.03,
    ),
)


def move(spectrum: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Return a spectrum [bins, F] with every frequency multiplied by `factor`."""
    last = len(spectrum) - 1
    source = np.minimum(np.arange(last + 1) / factor, last)
    below = source.astype(int)
    share = (source - below)[:, None].astype(np.float32)
    return spectrum[below] * (1 - share) + spectrum[np.minimum(below + 1, last)] * share


def speak(model: Hibari, voice: PresetVoice) -> NDArray[np.float32]:
    """Return the text of a voice, spoken in this voice."""
    rng = np.random.default_rng(0)
    sentences = []
    for phonemes in model.phonemize(voice.text):
        ids = np.array([model.ids(phonemes)], dtype=np.int64)
        pace = np.array([voice.pace], dtype=np.float32)
        *spectra, pitch = (part[0] for part in model.sess.run(None, {"ids": ids, "speed": pace}))
        voiced = pitch > LOWEST_HZ
        middle = np.exp(np.log(pitch[voiced]).mean())
        moved = voice.pitch * middle * (pitch[voiced] / middle) ** voice.liveliness
        pitch[voiced] = np.maximum(moved, LOWEST_HZ + 1)
        spectra = [move(spectrum, voice.resonance) for spectrum in spectra]
        sentences.append(dsp.synth(*spectra, pitch, rng))
    return np.concatenate(sentences)


def main() -> None:
    """Write every voice into the package."""
    model = Hibari()
    library = VoiceLibrary(PRESETS)
    for voice in VOICES:
        pcm = recording.prepare(speak(model, voice), SAMPLE_RATE, LOUDNESS_LUFS)
        library.add(
            voice.name,
            encode.encode(pcm, SAMPLE_RATE, "wav"),
            voice.text,
            description=voice.description,
            licence=LICENCE,
            replace=True,
        )
        (PRESETS / f"{voice.name}.zip").chmod(0o644)


if __name__ == "__main__":
    main()
