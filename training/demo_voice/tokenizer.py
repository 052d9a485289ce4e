"""The embedded model's tokenizer: words become ids as they sound, one id for each sound.

All of it is in `tokenizer.json`: its normaliser applies the rules of `spelling`, a regular
expression for each letter and sound. A letter that has been read is a code of its own until all
are, because the rules of its neighbours still need to know which letter it was.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers

from higgs_worker.api.request import DEFAULT_SCENE
from higgs_worker.speech.prompt import INSTRUCTION, Control
from higgs_worker.weights.locate import DEMO_DIRECTORY
from training.demo_voice.sounds import ALPHABET, STRESS
from training.demo_voice.spelling import EDGE, SpellingRule

SHIPPED = DEMO_DIRECTORY / "model" / "tokenizer.json"
KEPT = "abcdefghijklmnopqrstuvwxyz0123456789 \n.,!?;:'\"-()[]"
"""What has an id as it stands."""
UNKNOWN = "\u25a1"
FIRST_CODE = 0xA000
"""Codes are syllables of Yi: letters, as far as the edge of a word is concerned."""
APOSTROPHE = "\u02bc"
"""One that is a letter; it stands within words."""


def load(path: Path = SHIPPED) -> Tokenizer:
    """Give the package's, or another one that was written down."""
    return Tokenizer.from_file(str(path))


def make(rules: Sequence[SpellingRule]) -> Tokenizer:
    """Make one that reads by these rules.

    A space and a stress are one with the sound that they stand before. What stands in nearly every
    prompt is one id, so that the model reads little besides the text.
    """
    sounds = [sound for sound in ALPHABET if sound]
    stressed = [(stress, sound) for stress in STRESS for sound in sounds]
    spoken = sorted({*sounds, *filter(str.isalnum, KEPT)})
    merges = [*stressed, *((" ", each) for each in [*spoken, *map("".join, stressed)])]
    symbols = sorted({UNKNOWN, *KEPT, *STRESS, *sounds})
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    for pair in merges:
        vocabulary["".join(pair)] = len(vocabulary)
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token=UNKNOWN))
    made.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"(?<=\w)-(?=\w)"), " "),
            normalizers.Replace(Regex(r"(?<=\w)'(?=\w)"), APOSTROPHE),
            *_readings(rules),
        ]
    )
    controls = [*Control, "<|end_of_text|>", "<|reserved_special_token_6|>", "<|AUDIO_OUT|>"]
    made.add_special_tokens([AddedToken(str(each), special=True) for each in controls])
    made.add_tokens([AddedToken(each, normalized=False) for each in (INSTRUCTION, DEFAULT_SCENE)])
    return made


def places(tokenizer: Tokenizer, text: str) -> list[float]:
    """Say at which letter of a text each of its ids begins.

    The ids of a word are spread over its letters.
    """
    found: list[float] = []
    for piece in re.finditer(r" ?[\w']+|[^\w']", text):
        num_ids = len(tokenizer.encode(piece[0], add_special_tokens=False).ids)
        size = len(piece[0].lstrip())
        begin = piece.end() - size
        found += [begin + number * size / num_ids for number in range(num_ids)]
    return found


def _readings(rules: Sequence[SpellingRule]) -> list[normalizers.Normalizer]:
    """Write rules as replacements: each letter by a code for it and its sound, then codes."""
    alike: dict[tuple[str, str], list[SpellingRule]] = defaultdict(list)
    for rule in sorted(rules, key=lambda rule: rule.letter):
        alike[rule.letter, rule.sound].append(rule)
    codes = {key: chr(FIRST_CODE + number) for number, key in enumerate(alike)}
    codes_of: dict[str, str] = defaultdict(str)
    signs: dict[str, str] = {}
    for (letter, sound), code in codes.items():
        codes_of[sound] += code
        # The codes of a letter follow one another.
        first = signs.get(letter, letter.replace("'", APOSTROPHE) + code)
        signs[letter] = f"{first[:2]}-{code}"
    found = [
        normalizers.Replace(Regex("|".join(_pattern(rule, signs) for rule in its)), codes[key])
        for key, its in alike.items()
    ]
    return found + [
        normalizers.Replace(Regex(f"[{its}]"), sound) for sound, its in codes_of.items()
    ]


def _pattern(rule: SpellingRule, signs: Mapping[str, str]) -> str:
    """Write a rule as a regular expression."""
    left = "".join(_one_of(letter, signs) for letter in rule.left)
    right = "".join(_one_of(letter, signs) for letter in rule.right)
    pattern = f"(?<={left})" if left else ""
    pattern += "".join(f"(?<!{other}{left})" for other in _others(rule.not_before, signs))
    pattern += signs[rule.letter][0]
    pattern += f"(?={right})" if right else ""
    return pattern + "".join(f"(?!{right}{other})" for other in _others(rule.not_after, signs))


def _others(letters: str, signs: Mapping[str, str]) -> Iterator[str]:
    if EDGE in letters:
        yield _one_of(EDGE, signs)
    if inner := letters.replace(EDGE, ""):
        yield _one_of(inner, signs)


def _one_of(letters: str, signs: Mapping[str, str]) -> str:
    """Match the edge of a word, or one of these letters, read or not."""
    return r"\b" if letters == EDGE else "[" + "".join(map(signs.__getitem__, letters)) + "]"
