"""Count the words of a text, and find where it may be cut.

A word is a run without spaces that has a letter or digit; one with more than 32 of them counts once
per 32. In scripts without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) two letters count as
a word. Punctuation and emoji alone are not words, because nobody hears them. An event such as
`<SE>[Laughter]</SE>` is one word.
"""

import re
import unicodedata
from collections.abc import Iterator

from higgs_worker.text.tags import EVENT

SPACELESS = (
    "\u0e00-\u0e4e\u0e81-\u0ece\u0edc-\u0edf\u1000-\u103f\u1050-\u108f\u1780-\u17d3"
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3040-\u30fa\u30fc-\u30ff"
    "\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d"
    "\U0001b000-\U0001b16f\U00020000-\U0003fffd"
)
"""Letters of scripts without spaces between words, for a class in a regular expression.

Thai, Lao, Burmese, Khmer; kana; ideographs.
"""

OPENING = "([{<«‹“‘„‚「『【《〈〔（［｛¿¡"
"""Punctuation that belongs to what follows it."""

MAX_WORD_LETTERS = 32

_JOINING_LETTERS = "\u0e33\u0eb3\u1160-\u11ff\uff9e\uff9f"
_LETTER = re.compile(rf"(?<!\u200d)[^\W_{_JOINING_LETTERS}]")
"""A letter or digit that starts a grapheme cluster."""
_JOINING = re.compile(f"[\u200c\u200d{_JOINING_LETTERS}]")
_RUN = re.compile(rf"(?P<spaceless>[{SPACELESS}]+)|[^\s{SPACELESS}]+")
_IS_SPACELESS = re.compile(f"[{SPACELESS}]")
_ZERO_WIDTH_JOINER = "\u200d"
_OPENING = frozenset(OPENING)
_PLAIN = re.compile(r"[A-Za-z',.!?; -]*+")
_LONG = re.compile(rf"\S{{{MAX_WORD_LETTERS + 1}}}")
_WORD = re.compile(r"[^\sA-Za-z]*[A-Za-z]\S*")


def is_speakable(text: str) -> bool:
    """Return whether there is anything to speak: a letter, a digit, or an event."""
    return _LETTER.search(text) is not None


def is_spaceless(character: str) -> bool:
    """Return whether a character is a letter of a script without spaces; "" is none."""
    return _IS_SPACELESS.match(character) is not None


def num_half_words(text: str) -> int:
    """Return the number of half words; each letter of a script without spaces is one."""
    if _PLAIN.fullmatch(text) and not _LONG.search(text):
        return 2 * len(_WORD.findall(text))
    count = 0
    for run in _RUN.finditer(text):
        if run["spaceless"]:
            # Vowel signs and tone marks above or below a letter take no extra time.
            count += len(_LETTER.findall(text, run.start(), run.end()))
        elif run.end() - run.start() <= MAX_WORD_LETTERS:
            count += 2 * (_LETTER.search(text, run.start(), run.end()) is not None)
        else:
            count += 2 * -(-len(_LETTER.findall(text, run.start(), run.end())) // MAX_WORD_LETTERS)
    return count


def num_words(text: str) -> int:
    """Return the number of words, as `split` counts them."""
    return -(-num_half_words(text) // 2)


def can_cut(text: str, at: int) -> bool:
    """Return whether a cut before `text[at]` keeps grapheme clusters whole."""
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    if after < "\u0300":  # none of these extends a cluster, except a line feed
        return (before, after) != ("\r", "\n")
    return before != _ZERO_WIDTH_JOINER and not _joins(after)


def cuts_within_word(text: str, start: int, end: int) -> Iterator[int]:
    """Yield the cuts that divide text[start:end], one word or a run of a script without spaces.

    There is a cut before every letter of a script without spaces, where it meets another script,
    before an event, and after 32 letters of any other script. None is inside an event or where
    `can_cut` forbids it.
    """
    events = [found.span() for found in EVENT.finditer(text, start, end)]
    events.reverse()
    num_letters = 0
    divided = False  # whether something after the last letter ended its word
    opening = start  # start of the punctuation that belongs to the next letter
    for at in range(start, end):
        while events and events[-1][1] <= at:
            events.pop()
        event_start = events[-1][0] if events else end
        is_letter = _LETTER.match(text, at) is not None
        changes = is_letter and (divided or is_spaceless(text[at]))
        full = is_letter and num_letters >= MAX_WORD_LETTERS
        if at <= event_start and (changes or full or at == event_start):
            cut = opening if can_cut(text, opening) else at
            if start < cut:
                yield cut
            num_letters = 0
        num_letters += is_letter
        if is_spaceless(text[at]) or text[at].isspace():
            divided = True
        elif is_letter:
            divided = False
        if text[at] not in _OPENING:
            opening = at + 1


def _joins(character: str) -> bool:
    """Return whether a character extends the grapheme cluster before it.

    Source: Unicode Standard Annex 29, rules GB6 to GB9a, conjoining Hangul simplified.
    """
    return (
        unicodedata.category(character)[0] == "M"
        or _JOINING.match(character) is not None
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\U000e0020" <= character <= "\U000e007f"
    )
