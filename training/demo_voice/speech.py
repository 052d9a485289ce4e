"""Make the training recordings: sentences spoken by hibari-tts, with the time of each sound.

hibari-tts is Apache-2.0, and so is the model it was distilled from (Kokoro-82M). It runs offline,
about a hundred times faster than real time.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.demo_voice.sounds import ALPHABET, PAUSE, middles, units
from training.demo_voice.text import sentences

SAMPLE_RATE = 24_000
HOP = 960
"""Samples per frame of codes."""
QUIET = 0.01
BREATH_S = 0.08
"""Quiet that is kept at both ends: a tight cut starts with a click, and the end must be learnt."""
PER_FRAME = ("sounds", "numbers", "letters")
DURATIONS = "/Clip_output_0"
"""An inner tensor of the network: the duration of each phoneme, in steps of its own."""
AHEAD_S = 0.055
"""By how much the sound precedes the durations; measured, as the best fit."""


@dataclass(frozen=True, slots=True)
class Recordings:
    """All recordings one after another, each a whole number of frames."""

    pcm: NDArray[np.int16]
    starts: NDArray[np.int64]
    """[N + 1], in frames."""
    texts: list[str]
    sounds: NDArray[np.int8]
    """[F], the index in `ALPHABET` of each frame's sound."""
    numbers: NDArray[np.int16]
    """[F], the index of that sound in its recording; from one frame to the next it stays or rises
    by one."""
    letters: NDArray[np.float32]
    """[F], the position of that sound in its text, in letters; -1 before the first one."""

    def pcm_of(self, index: int) -> NDArray[np.int16]:
        """Return the PCM of one recording."""
        return self.pcm[self.starts[index] * HOP : self.starts[index + 1] * HOP]


@dataclass(frozen=True, slots=True)
class Course:
    """The sounds of a recording and their times, starting with a pause."""

    sounds: list[str]
    letters: list[float]
    ends_s: list[float]

    def frames(self, first: int, num_frames: int) -> NDArray[np.int64] | None:
        """Return the index of each frame's sound; every sound gets at least one frame.

        Args:
            first: sample at which the first frame starts.
            num_frames: of the recording.

        Returns:
            [F]; None where there are more sounds than frames.
        """
        size = len(self.sounds)
        if num_frames < size:
            return None
        wanted = np.rint((np.array(self.ends_s) * SAMPLE_RATE - first) / HOP).astype(int)
        wanted = np.minimum(wanted, num_frames - round(BREATH_S * SAMPLE_RATE / HOP))
        wanted[-1] = num_frames
        steps = np.arange(size)
        # The earliest and the latest ends that rise strictly; the result is half-way between them.
        early = np.maximum.accumulate(np.maximum(wanted, 1) - steps) + steps
        late = np.minimum.accumulate((wanted - steps)[::-1])[::-1] + steps
        early = np.minimum(early, num_frames - steps[::-1])
        late = np.maximum(late, steps + 1)
        return np.searchsorted((early + late) // 2, np.arange(num_frames), side="right")


class HibariVoice:
    """hibari-tts, with the time of each sound."""

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

    def say(self, text: str, seed: int) -> tuple[NDArray[np.float32], Course] | None:
        """Return a text as speech.

        Returns:
            PCM [S] and its sounds; None if sounds and letters do not match.
        """
        rng = np.random.default_rng(seed)
        pieces: list[NDArray[np.float32]] = []
        course = Course([PAUSE], [-1.0], [])
        at, done_s = 0, 0.0
        for sentence in self._voice.split_sentences(text):
            at = text.index(sentence, at)
            (phonemes,) = self._voice.phonemize(sentence) or [""]
            said, places = units(phonemes), middles(sentence, phonemes)
            if places is None or not {sign for sign, _ in said} <= set(ALPHABET):
                return None
            ids = np.array([self._voice.ids(phonemes)], dtype=np.int64)
            speed = np.ones(1, np.float32)
            *parts, durations = self._session.run(None, {"ids": ids, "speed": speed})
            pieces.append(self._synthesise(*(part[0] for part in parts), rng))
            ends = np.cumsum(durations.reshape(-1))
            ends = done_s - AHEAD_S + ends / ends[-1] * len(pieces[-1]) / SAMPLE_RATE
            # A phoneme without an id takes no time.
            known = np.cumsum([0, *(each in self._voice.vocab for each in phonemes)])
            if not course.ends_s:
                course.ends_s.append(ends[0])
            course.sounds.extend(sign for sign, _ in said)
            course.letters.extend(at + place for place in places)
            course.ends_s.extend(ends[known[end]] for _, end in said)
            done_s += len(pieces[-1]) / SAMPLE_RATE
            at += len(sentence)
        return (np.concatenate(pieces), course) if pieces else None


def make(path: Path, words: Sequence[str], seconds: float, seed: int) -> None:
    """Write recordings of sentences with these words, at least so many seconds in total."""
    voice = HibariVoice()
    starts, texts = [0], []
    kept: dict[str, list[NDArray[Any]]] = {name: [] for name in ("pcm", *PER_FRAME)}
    for text in sentences(words, seed):
        made = voice.say(text, seed=len(texts))
        if made is None:
            continue
        pcm, course = made
        first, last = edges(pcm)
        num_frames = -(-(last - first) // HOP)
        numbers = course.frames(first, num_frames)
        if numbers is None or not 8 <= num_frames <= 200:
            continue
        padded = np.zeros(num_frames * HOP, np.float32)
        padded[: last - first] = pcm[first:last]
        kept["pcm"].append((padded.clip(-1, 1) * 32767).astype(np.int16))
        signs = np.array([ALPHABET.index(sign) for sign in course.sounds], np.int8)
        kept["sounds"].append(signs[numbers])
        kept["numbers"].append(numbers.astype(np.int16))
        kept["letters"].append(np.array(course.letters, np.float32)[numbers])
        starts.append(starts[-1] + num_frames)
        texts.append(text)
        if len(texts) % 500 == 0:
            print(f"{len(texts)} sentences, {starts[-1] / 25 / 60:.0f} min", flush=True)
        if starts[-1] * HOP >= seconds * SAMPLE_RATE:
            break
    path.mkdir(parents=True, exist_ok=True)
    for name, arrays in kept.items():
        np.save(path / f"{name}.npy", np.concatenate(arrays))
    np.save(path / "starts.npy", np.array(starts))
    (path / "texts.json").write_text(json.dumps(texts), encoding="utf-8")


def load(path: Path) -> Recordings:
    """Read what `make` wrote."""
    return Recordings(
        np.load(path / "pcm.npy", mmap_mode="r"),
        np.load(path / "starts.npy"),
        json.loads((path / "texts.json").read_text(encoding="utf-8")),
        **{name: np.load(path / f"{name}.npy") for name in PER_FRAME},
    )


def edges(pcm: NDArray[np.float32]) -> tuple[int, int]:
    """Return first and last sample of the speech, some quiet included; (0, 0) if it is silent."""
    loud = np.flatnonzero(np.abs(pcm) > QUIET)
    if not len(loud):
        return 0, 0
    breath = round(BREATH_S * SAMPLE_RATE)
    return max(0, int(loud[0]) - breath), min(len(pcm), int(loud[-1]) + breath)
