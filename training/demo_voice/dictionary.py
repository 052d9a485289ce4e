"""Words and their pronunciations: hibari's dictionaries, and hibari's own for common words."""

import gzip
import json
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from training.demo_voice.sounds import ALPHABET, SOUNDS, STRESS

LEXICONS = ("lexicon_us_silver", "lexicon_us_gold")
LONGEST = 15
POSSESSIVES = 4
"""Every n-th common word gets a possessive form, too."""
WEIGHT, NAME_WEIGHT, COMMON_WEIGHT, KNOWN_WEIGHT = 1, 3, 10, 100
"""How much a correct pronunciation counts: of any word, a name, a common word, a word of `text`."""
VARIANTS = str.maketrans("\u027e\u0294", "Tt")
"""Sounds that hibari writes in two ways, and the one to use."""

_WORD = re.compile(r"[a-z]+('[a-z]+)?")
_SAID = re.compile(rf"[{STRESS}{''.join(ALPHABET)}]+")


def common_words() -> list[str]:
    """Return the vocabulary of hibari's tagger, about 20,000 words, and some possessives."""
    words = [word for word in _asset("tagger")["vocab"] if _WORD.fullmatch(word)]
    return words + [f"{word}'s" for word in words[::POSSESSIVES] if word.isalpha()]


@cache
def dictionary() -> tuple[dict[str, str], dict[str, float]]:
    """Return all words.

    Returns:
        Their pronunciations, and the weight of each word.
    """
    from hibari import Hibari

    voice = Hibari()
    common = common_words()
    found = {word: " ".join(voice.phonemize(word)) for word in common}
    matter: dict[str, float] = defaultdict(lambda: WEIGHT)
    for lexicon in map(_asset, LEXICONS):
        for word, sounds in lexicon.items():
            is_name = word != word.lower()
            if word.isupper() or len(word) > LONGEST or (is_name and word.lower() in lexicon):
                continue
            if is_name:
                matter[word.lower()] = NAME_WEIGHT
            # A word with several pronunciations has a default one.
            usual = sounds if isinstance(sounds, str) else sounds.get("DEFAULT")
            found[word.lower()] = usual or ""
    found = {word: sounds.translate(VARIANTS) for word, sounds in found.items()} | SOUNDS
    found = {
        word: sounds
        for word, sounds in found.items()
        if _WORD.fullmatch(word) and _SAID.fullmatch(sounds)
    }
    matter |= dict.fromkeys(common, COMMON_WEIGHT) | dict.fromkeys(SOUNDS, KNOWN_WEIGHT)
    return found, {word: matter[word] for word in found}


def readable(tokenizer: Tokenizer) -> list[str]:
    """Return the common words that a tokenizer reads correctly."""
    sounds, _ = dictionary()
    return [
        word
        for word in common_words()
        if "".join(tokenizer.encode(word, add_special_tokens=False).tokens) == sounds.get(word)
    ]


def _asset(name: str) -> Any:
    from hibari.g2p import ASSETS

    with gzip.open(Path(ASSETS) / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)
