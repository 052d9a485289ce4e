"""A recording for a voice, and the files of a library."""

import io
import wave
from pathlib import Path


def make_wav(
    num_samples: int = 2400, *, rate: int = 24_000, channels: int = 1, width: int = 2, fill: int = 7
) -> bytes:
    """Return a WAV that holds one value."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, width, rate, 0, "NONE", ""))
        writer.writeframes(bytes([fill]) * (num_samples * channels * width))
    return file.getvalue()


WAV = make_wav()


def file_of(tmp_path: Path, name: str) -> Path:
    """Return the file of a voice."""
    return tmp_path / "volume" / "voices" / f"{name.lower()}.zip"


def leftovers(directory: Path) -> list[str]:
    """Return the hidden files, which are neither voices nor codes."""
    return [each.name for each in directory.glob(".*")]
