"""Guards against what this model is known to do wrong. For now: a cap on the length of speech."""

import re

SPOKEN_CHARACTERS_PER_S = 14.0
"""English at a calm pace."""
SPOKEN_SYLLABLES_PER_S = 4.5
"""Chinese, Japanese and Korean write about a syllable per character."""
DIGITS_PER_S = 2.5
"""Written short, spoken long: 1984 takes more than a second."""
SLACK = 2.0
"""A slow and dramatic reader takes twice as long; running on in silence takes longer."""
MARGIN_S = 2.0

_SYLLABIC = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_DIGIT = re.compile(r"\d")


def expected_duration_s(text: str) -> float:
    """Estimate how long a text takes to speak, in seconds."""
    syllables, digits = len(_SYLLABIC.findall(text)), len(_DIGIT.findall(text))
    letters = len(text) - syllables - digits
    return (
        letters / SPOKEN_CHARACTERS_PER_S
        + syllables / SPOKEN_SYLLABLES_PER_S
        + digits / DIGITS_PER_S
    )


def max_duration_s(text: str) -> float:
    """Give the cap for a text, in seconds: beyond it the model has lost the thread."""
    return MARGIN_S + SLACK * expected_duration_s(text)
