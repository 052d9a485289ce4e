"""What would be spoken of a text, told without speaking it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReadSentence:
    """A sentence, and how it would be said."""

    text: str
    """As the caller wrote it."""
    speaker: str | None
    spoken: str | None
    """As it is spoken, where that differs: numbers and symbols written out."""
    expected_s: float
    """At a calm pace, and the speed that was asked for."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as it would be spoken."""

    language: str
    """BCP-47; detected where the request names none."""
    sentences: tuple[ReadSentence, ...]
    num_characters: int
    """Of the text as it was sent; the operator's limit counts these."""
    num_words: int
    """Of the sentences as they were written."""
    num_chunks: int
    """Sequences that would be generated."""
    expected_s: float
    """Of the whole audio: pauses, speed and `max_duration_s` included."""
    warnings: tuple[str, ...]
