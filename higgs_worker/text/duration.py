"""How long a text takes to speak: an estimate from its characters, and a cap derived from it."""

import re

from higgs_worker.text.tags import EVENT

_CHARACTERS_PER_S = 14.0
"""English at a calm pace."""
_SYLLABLES_PER_S = 4.5
"""Chinese, Japanese and Korean write about one syllable per character."""
_DIGITS_PER_S = 2.5
"""Digits are short to write and long to speak: 1984 takes more than a second."""
_EVENT_S = 1.5
"""A laugh or a cough."""
_SLACK = 2.0
"""A slow, dramatic reader takes twice the estimate; a model that runs on takes longer."""
_MARGIN_S = 2.0
"""Added to the cap, because the estimate of a very short text is poor."""

_SYLLABIC = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_DIGIT = re.compile(r"\d")


def expected_duration_s(text: str) -> float:
    """Return an estimate of how long a text takes to speak, in seconds."""
    text, num_events = EVENT.subn("", text)
    num_syllables, num_digits = len(_SYLLABIC.findall(text)), len(_DIGIT.findall(text))
    num_others = len(text) - num_syllables - num_digits
    return (
        _EVENT_S * num_events
        + num_others / _CHARACTERS_PER_S
        + num_syllables / _SYLLABLES_PER_S
        + num_digits / _DIGITS_PER_S
    )


def max_duration_s(text: str) -> float:
    """Return the cap for a text's audio, in seconds; speech beyond it has lost the thread."""
    return _MARGIN_S + _SLACK * expected_duration_s(text)
