"""Sounds in misaki's alphabet: the alphabet, and the pronunciation of common words."""

import json
import re
from pathlib import Path

SOUNDS: dict[str, str] = json.loads(
    (Path(__file__).parent / "sounds.json").read_text(encoding="utf-8")
)
"""Pronunciations of the common words. Source: hibari-tts 0.2.1's dictionary."""
STRESS = "ˈˌ"
"""Stress marks; each precedes its vowel."""
PAUSE = ""
"""The sound before the first one, and at punctuation."""
MARKS = ".,!?"
ALPHABET = (PAUSE, *sorted(set("".join(SOUNDS.values())) - set(STRESS)))

_UNIT = re.compile(rf"[ {STRESS}]*[^ {STRESS}]")
_SAID = re.compile(rf"[^\s{MARKS}]+|[{MARKS}]")
_WRITTEN = re.compile(rf"[\w']+|[{MARKS}]")


def units(phonemes: str) -> list[tuple[str, int]]:
    """Return the sounds of `phonemes`: the sign of each, and the index where it ends.

    A space and a stress mark belong to the sound after them.
    """
    found = ((unit[0][-1], unit.end()) for unit in _UNIT.finditer(phonemes))
    return [(PAUSE if sign in MARKS else sign, end) for sign, end in found]


def middles(text: str, phonemes: str) -> list[float] | None:
    """Return the position of each unit of a text's phonemes in the text, in letters.

    The sounds of a word are spread evenly over its letters.

    Returns:
        The middle of each unit; None where words or marks do not match.
    """
    written, said = list(_WRITTEN.finditer(text)), _SAID.findall(phonemes)
    if [each[0] in MARKS for each in written] != [each in MARKS for each in said]:
        return None
    found: list[float] = []
    for piece, sounds in zip(written, said, strict=True):
        number = len(units(sounds))
        size = len(piece[0])
        found += [piece.start() + (each + 0.5) * size / number for each in range(number)]
    return found
