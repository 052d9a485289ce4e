"""The embedded voice by ear: does it say what was asked?"""

from pathlib import Path

import numpy as np
import pytest

PACKAGE = Path(__file__).parents[2] / "higgs_worker" / "demo"


def test_the_weights_are_small() -> None:
    """Whoever installs the package downloads them."""
    assert sum(path.stat().st_size for path in PACKAGE.rglob("*.*")) < 25e6


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "most"), [("common words", 0.12), ("other words", 0.20), ("long text", 0.12)]
)
def test_texts_that_it_never_heard_are_understood(kind: str, most: float) -> None:
    """Spoken by the worker, written down by Whisper; pitch and pace are a human's."""
    pytest.importorskip("faster_whisper", reason="needs pip install '.[training]'")
    from training.demo_voice import word_errors

    texts = word_errors.TEXTS[kind]
    recordings = word_errors.speak(texts, seed=1)
    for text, (pcm, rate) in zip(texts, recordings, strict=True):
        assert 0.1 < len(pcm) / rate / len(word_errors.words(text)) < 0.7, text
        assert 120 < pitch_hz(pcm, rate) < 300, text
    heard = [word_errors.transcribe(*recording) for recording in recordings]
    assert word_errors.error_rate(texts, heard) <= most, heard


def pitch_hz(pcm: np.ndarray, rate: int) -> float:
    """Return the middle pitch of the loud parts, by autocorrelation."""
    size, found = rate // 20, []
    for at in range(0, len(pcm) - size, size):
        piece = pcm[at : at + size] - pcm[at : at + size].mean()
        if np.sqrt(np.mean(piece**2)) < 0.02:
            continue
        like = np.correlate(piece, piece, "full")[size - 1 :]
        low, high = rate // 400, rate // 70
        best = low + int(like[low:high].argmax())
        if like[best] > 0.4 * like[0]:
            found.append(rate / best)
    return float(np.median(found))
