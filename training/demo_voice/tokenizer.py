"""The embedded model's tokenizer: words become ids by their sounds, one id for each sound.

All of it is in `tokenizer.json`. Its normaliser applies the rules of `spelling`, as one regular
expression for each letter and sound. A letter that has been read becomes a private code until all
are read, because the rules of its neighbours still depend on the letter.
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
"""Characters with an id of their own."""
UNKNOWN = "\u25a1"
FIRST_CODE = 0xA000
"""Codes are syllables of Yi, which a regular expression treats as letters of a word."""
APOSTROPHE = "\u02bc"
"""An apostrophe that counts as a letter; used within words."""


def load(path: Path = SHIPPED) -> Tokenizer:
    """Return the package's tokenizer, or the one at `path`."""
    return Tokenizer.from_file(str(path))


def make(rules: Sequence[SpellingRule]) -> Tokenizer:
    """Return a tokenizer that reads by these rules.

    A space and a stress mark form one id with the sound after them. The texts that are in nearly
    every prompt are one id each, so that the model reads little besides the text.
    """
    sounds = [sound for sound in ALPHABET if sound]
    stressed = [(stress, sound) for stress in STRESS for sound in sounds]
    speakable = sorted({*sounds, *filter(str.isalnum, KEPT)})
    merges = [*stressed, *((" ", each) for each in [*speakable, *map("".join, stressed)])]
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
            *_replacements(rules),
        ]
    )
    controls = [*Control, "<|end_of_text|>", "<|reserved_special_token_6|>", "<|AUDIO_OUT|>"]
    made.add_special_tokens([AddedToken(str(each), special=True) for each in controls])
    made.add_tokens([AddedToken(each, normalized=False) for each in (INSTRUCTION, DEFAULT_SCENE)])
    return made


def places(tokenizer: Tokenizer, text: str) -> list[float]:
    """Return the position in a text at which each of its ids starts, in letters.

    The ids of a word are spread evenly over its letters.
    """
    found: list[float] = []
    for piece in re.finditer(r" ?[\w']+|[^\w']", text):
        num_ids = len(tokenizer.encode(piece[0], add_special_tokens=False).ids)
        size = len(piece[0].lstrip())
        begin = piece.end() - size
        found += [begin + number * size / num_ids for number in range(num_ids)]
    return found


def _replacements(rules: Sequence[SpellingRule]) -> list[normalizers.Normalizer]:
    """Return rules as replacements: letters by codes for letter and sound, then codes by sounds."""
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
    """Return a rule as a regular expression."""
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
    """Return a pattern for the edge of a word, or for one of these letters, read or not."""
    return r"\b" if letters == EDGE else "[" + "".join(map(signs.__getitem__, letters)) + "]"
