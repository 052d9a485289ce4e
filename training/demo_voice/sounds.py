"""Sounds, in misaki's alphabet: how common words are said, and which sounds there are."""

import json
import re
from pathlib import Path

SOUNDS: dict[str, str] = json.loads(
    (Path(__file__).parent / "sounds.json").read_text(encoding="utf-8")
)
"""How the common words sound. Source: hibari-tts 0.2.1's dictionary."""
STRESS = "ˈˌ"
"""Stands before the vowel that it is of."""
PAUSE = ""
"""What is said before the first sound, and where a mark stands."""
MARKS = ".,!?"
ALPHABET = (PAUSE, *sorted(set("".join(SOUNDS.values())) - set(STRESS)))

_UNIT = re.compile(rf"[ {STRESS}]*[^ {STRESS}]")
_SAID = re.compile(rf"[^\s{MARKS}]+|[{MARKS}]")
_WRITTEN = re.compile(rf"[\w']+|[{MARKS}]")


def units(phonemes: str) -> list[tuple[str, int]]:
    """Split what is said: of each sound its sign, and where in `phonemes` it ends.

    A space and a stress belong to the sound that they stand before.
    """
    found = ((unit[0][-1], unit.end()) for unit in _UNIT.finditer(phonemes))
    return [(PAUSE if sign in MARKS else sign, end) for sign, end in found]


def middles(text: str, phonemes: str) -> list[float] | None:
    """Say at which place of a text each of the units of its phonemes stands, in letters.

    The sounds of a word are spread over its letters.

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
