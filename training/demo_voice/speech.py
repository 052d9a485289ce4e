"""Speech to learn from: sentences spoken by hibari-tts, cut to a breath, with what was said.

hibari-tts is Apache-2.0, and so is what it was distilled from (Kokoro-82M); it speaks offline, some
hundred times faster than real time.
"""

import gzip
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.demo_voice.text import sentences

SAMPLE_RATE = 24_000
HOP = 960
"""Samples per frame of codes."""
QUIET = 0.01
BREATH_S = 0.08
"""Left at both edges: what is trimmed closely begins with a click, and the end must be learnt."""


DURATIONS = "/Clip_output_0"
"""What the network computes on its way: how long each phoneme lasts, in steps of its own."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A corpus in memory: all recordings one after another, each a whole number of frames."""

    pcm: NDArray[np.int16]
    starts: NDArray[np.int64]
    """[N + 1], in frames."""
    texts: list[str]
    letters: NDArray[np.float32]
    """For every frame, which letter of its text is being spoken."""

    def recording(self, index: int) -> NDArray[np.int16]:
        """Give one of them."""
        return self.pcm[self.starts[index] * HOP : self.starts[index + 1] * HOP]


class Voice:
    """hibari, and when it says what."""

    def __init__(self) -> None:
        import onnx
        import onnxruntime
        from hibari import Hibari, dsp

        self._voice = Hibari()
        self._synthesise = dsp.synth
        model = onnx.load(self._voice.model_path)
        kind = onnx.TensorProto.FLOAT
        model.graph.output.append(onnx.helper.make_tensor_value_info(DURATIONS, kind, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def say(self, text: str, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Speak.

        Returns:
            PCM [S], and the seconds at which each letter of the text begins, [len(text) + 1].
        """
        rng = np.random.default_rng(seed)
        pieces, begins = [np.zeros(0, np.float32)], np.zeros(len(text) + 1)
        at, done_s = 0, 0.0
        for sentence in self._voice.split_sentences(text):
            at = text.index(sentence, at)
            (phonemes,) = self._voice.phonemize(sentence) or [""]
            ids = np.array([self._voice.ids(phonemes)], dtype=np.int64)
            speed = np.ones(1, np.float32)
            *parts, durations = self._session.run(None, {"ids": ids, "speed": speed})
            pieces.append(self._synthesise(*(part[0] for part in parts), rng))
            ends = np.cumsum(durations.reshape(-1))
            ends = done_s + ends / ends[-1] * len(pieces[-1]) / SAMPLE_RATE
            # Without the pads at both ends; what has no id has no time.
            known = [each in self._voice.vocab for each in phonemes]
            times = np.concatenate([[ends[0]], ends[1:-1]])[np.cumsum([0, *known])]
            begins[at : at + len(sentence) + 1] = _letters(sentence, phonemes, times)
            done_s += len(pieces[-1]) / SAMPLE_RATE
            at += len(sentence)
        return np.concatenate(pieces), np.maximum.accumulate(begins)


def _letters(text: str, phonemes: str, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread letters over the phonemes of their word, or of the text where the words differ.

    Args:
        text: as it is written.
        phonemes: as it is said.
        times: when each phoneme begins, and when the last one ends.
    """
    words = [(found.start(), found.end()) for found in re.finditer(r"\S+", text)]
    said = [(found.start(), found.end()) for found in re.finditer(r"\S+", phonemes)]
    if len(words) != len(said):
        words, said = [(0, len(text))], [(0, len(phonemes))]
    places, moments = [], []
    for (first, last), (begin, end) in zip(words, said, strict=True):
        places += [first, last]
        moments += [times[begin], times[end]]
    return np.interp(np.arange(len(text) + 1), places, moments)


def make(path: Path, seconds: float, seed: int) -> None:
    """Speak so many seconds and write them."""
    from hibari.g2p import ASSETS

    with gzip.open(Path(ASSETS) / "lexicon_us_gold.json.gz", "rt", encoding="utf-8") as file:
        known = json.load(file)
    words = sorted(
        word
        for word in known
        if word.isascii() and word.isalpha() and word.islower() and 2 < len(word) < 13
    )
    voice = Voice()
    pieces, starts, texts, letters = [], [0], [], []
    for text in sentences(words, seed):
        pcm, begins = voice.say(text, seed=len(texts))
        first, last = edges(pcm)
        num_frames = -(-(last - first) // HOP)
        if not 8 <= num_frames <= 200:
            continue
        padded = np.zeros(num_frames * HOP, np.float32)
        padded[: last - first] = pcm[first:last]
        pieces.append((padded.clip(-1, 1) * 32767).astype(np.int16))
        starts.append(starts[-1] + num_frames)
        texts.append(text)
        middles = (first + (np.arange(num_frames) + 0.5) * HOP) / SAMPLE_RATE
        letters.append(np.interp(middles, begins, np.arange(len(text) + 1)).astype(np.float32))
        if len(texts) % 500 == 0:
            print(f"{len(texts)} sentences, {starts[-1] / 25 / 60:.0f} min", flush=True)
        if starts[-1] * HOP >= seconds * SAMPLE_RATE:
            break
    path.mkdir(parents=True, exist_ok=True)
    np.save(path / "pcm.npy", np.concatenate(pieces))
    np.save(path / "starts.npy", np.array(starts))
    np.save(path / "letters.npy", np.concatenate(letters))
    (path / "texts.json").write_text(json.dumps(texts), encoding="utf-8")


def load(path: Path) -> Spoken:
    """Read what `make` wrote."""
    return Spoken(
        np.load(path / "pcm.npy", mmap_mode="r"),
        np.load(path / "starts.npy"),
        json.loads((path / "texts.json").read_text(encoding="utf-8")),
        np.load(path / "letters.npy"),
    )


def edges(pcm: NDArray[np.float32]) -> tuple[int, int]:
    """Find where a recording begins and ends, with a breath around it; (0, 0) if it is silent."""
    loud = np.flatnonzero(np.abs(pcm) > QUIET)
    if not len(loud):
        return 0, 0
    breath = round(BREATH_S * SAMPLE_RATE)
    return max(0, int(loud[0]) - breath), min(len(pcm), int(loud[-1]) + breath)
