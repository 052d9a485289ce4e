"""Speech to learn from: sentences spoken by hibari-tts, cut to a breath, with what was said.

hibari-tts is Apache-2.0, and so is what it was distilled from (Kokoro-82M); it speaks offline, some
hundred times faster than real time.
"""

import gzip
import json
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


@dataclass(frozen=True, slots=True)
class Spoken:
    """A corpus in memory: all recordings one after another, each a whole number of frames."""

    pcm: NDArray[np.int16]
    starts: NDArray[np.int64]
    """[N + 1], in frames."""
    texts: list[str]

    def recording(self, index: int) -> NDArray[np.int16]:
        """Give one of them."""
        return self.pcm[self.starts[index] * HOP : self.starts[index + 1] * HOP]


def make(path: Path, seconds: float, seed: int) -> None:
    """Speak so many seconds and write them."""
    from hibari import Hibari
    from hibari.g2p import ASSETS

    with gzip.open(Path(ASSETS) / "lexicon_us_gold.json.gz", "rt", encoding="utf-8") as file:
        known = json.load(file)
    words = sorted(
        word
        for word in known
        if word.isascii() and word.isalpha() and word.islower() and 2 < len(word) < 13
    )
    voice = Hibari()
    pieces, starts, texts = [], [0], []
    for text in sentences(words, seed):
        pcm = trimmed(voice(text, seed=len(texts)))
        num_frames = -(-len(pcm) // HOP)
        if not 8 <= num_frames <= 200:
            continue
        padded = np.zeros(num_frames * HOP, np.float32)
        padded[: len(pcm)] = pcm
        pieces.append((padded.clip(-1, 1) * 32767).astype(np.int16))
        starts.append(starts[-1] + num_frames)
        texts.append(text)
        if len(texts) % 500 == 0:
            print(f"{len(texts)} sentences, {starts[-1] / 25 / 60:.0f} min", flush=True)
        if starts[-1] * HOP >= seconds * SAMPLE_RATE:
            break
    path.mkdir(parents=True, exist_ok=True)
    np.save(path / "pcm.npy", np.concatenate(pieces))
    np.save(path / "starts.npy", np.array(starts))
    (path / "texts.json").write_text(json.dumps(texts), encoding="utf-8")


def load(path: Path) -> Spoken:
    """Read what `make` wrote."""
    return Spoken(
        np.load(path / "pcm.npy", mmap_mode="r"),
        np.load(path / "starts.npy"),
        json.loads((path / "texts.json").read_text(encoding="utf-8")),
    )


def trimmed(pcm: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut the silence at both ends down to a breath."""
    loud = np.flatnonzero(np.abs(pcm) > QUIET)
    if not len(loud):
        return pcm[:0]
    breath = round(BREATH_S * SAMPLE_RATE)
    return pcm[max(0, loud[0] - breath) : loud[-1] + breath]
