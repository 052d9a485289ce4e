"""Learn letter-to-sound rules from a pronouncing dictionary; they also read unknown words.

A rule gives the sound of one letter between some letters on its left and some on its right. The
rules of a letter form a tree: in any context exactly one of them applies, the most specific.
Important words are always read correctly, if need be by a rule for one word.
"""

import itertools
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from training.demo_voice.sounds import STRESS

EDGE = "#"
"""Marks the start and the end of a word."""
MOST_SOUNDS = 3
"""Most sounds of one letter, as in "x" and in "one"."""
ROUNDS = 6
NUM_ALIGNED = 15_000
"""Words from which the possible sounds of a letter are learnt."""
VOWELS = frozenset("AIOWYaiuæɐɑɔəɛɜɪʊʌᵊᵻ")
OF_VOWELS, OF_CONSONANTS = frozenset("aeiouyw"), frozenset("bcdfghjklmnpqrstuvwxyz")
"""Letters for vowels and for consonants."""
OWN = 0.5
"""Cost, in nats like all, of a letter with the sound that has the same sign."""
UNSEEN = (3.0, 2.5, 6.0, 9.0)
"""Cost of a letter with no sound, one, two or three, before it has been observed."""
UNLIKE = 4.0
"""Added cost of a vowel for a consonant's letter, or the reverse."""
LATER = 7.0
"""Added cost of a sound that was not observed, once others were."""
BUSHY = 0.3
"""Cost of a branch, as a share of a rule's, when the next side to examine is chosen."""

_SOUND = re.compile(rf"[{STRESS}]?[^{STRESS}]")

Costs = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class SpellingRule:
    """The sound of a letter in one context."""

    letter: str
    left: str
    """The letters before it."""
    right: str
    not_before: str
    """Letters that must not precede `left`; with them another rule applies."""
    not_after: str
    sound: str
    """One sound, several or none."""


@dataclass(frozen=True, slots=True)
class Place:
    """One letter of a word, its sound there, and the weight of the word."""

    word: str
    """The word with its edges."""
    index: int
    sound: str
    weight: float

    def letter_at(self, offset: int) -> str:
        """Return the letter at an offset from this one, or `EDGE`."""
        return self.word[self.index + offset]


@dataclass(slots=True)
class Tree:
    """The rules of a letter in the contexts that share a part."""

    sound: str
    wrong: float
    """Weight of the places that it reads wrongly, with all its branches."""
    size: int = 1
    is_left: bool = False
    """Whether its branches examine the next letter on the left."""
    branches: dict[str, "Tree"] = field(default_factory=dict)

    def rules(self, letter: str, left: str = "", right: str = "") -> Iterator[SpellingRule]:
        """Yield the rules of the tree."""
        others = "".join(sorted(self.branches))
        unless = (others, "") if self.is_left else ("", others)
        yield SpellingRule(letter, left, right, *unless, self.sound)
        for other, branch in self.branches.items():
            context = (other + left, right) if self.is_left else (left, right + other)
            yield from branch.rules(letter, *context)


def learn(
    dictionary: Mapping[str, str], weights: Mapping[str, float], *, worth: float
) -> list[SpellingRule]:
    """Return the rules of a dictionary.

    Args:
        dictionary: pronunciations of words, in misaki's alphabet.
        weights: of words.
        worth: least weight that a rule must correct; a higher value gives fewer rules.
    """
    costs = letter_costs(dictionary)
    places: dict[str, list[Place]] = defaultdict(list)
    for word, sounds in dictionary.items():
        for index, sound in enumerate(align(word, sounds, costs)):
            place = Place(f"{EDGE}{word}{EDGE}", index + 1, sound, weights[word])
            places[word[index]].append(place)
    return [
        rule
        for letter, its in sorted(places.items())
        for rule in _grow(its, 0, 0, worth).rules(letter)
    ]


def letter_costs(dictionary: Mapping[str, str]) -> Costs:
    """Return the cost of each sound of a letter, by aligning some of the words repeatedly."""
    words = sorted(dictionary)
    some = random.Random(0).sample(words, min(NUM_ALIGNED, len(words)))
    costs: Costs = {}
    for _ in range(ROUNDS):
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for word in some:
            for letter, sound in zip(word, align(word, dictionary[word], costs), strict=False):
                counts[letter][_bare(sound)] += 1
        costs = {
            letter: {sound: math.log(its.total() / count) for sound, count in its.items()}
            for letter, its in counts.items()
        }
    return costs


def align(word: str, sounds: str, costs: Costs) -> list[str]:
    """Distribute the sounds of a word over its letters, in order, at the lowest cost.

    Returns:
        The sounds of each letter; empty if there are too many for the letters.
    """
    units = _SOUND.findall(sounds)
    bare = _bare(sounds)
    # By number of sounds: the lowest cost of the letters so far, and the count of each letter.
    best: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
    for letter in word:
        after: dict[int, tuple[float, tuple[int, ...]]] = {}
        for done, (cost, shares) in best.items():
            for end in range(done, min(done + MOST_SOUNDS, len(units)) + 1):
                total = cost + _cost(letter, bare[done:end], costs)
                if end not in after or total < after[end][0]:
                    after[end] = (total, (*shares, end - done))
        best = after
    if len(units) not in best:
        return []
    ends = list(itertools.accumulate(best[len(units)][1], initial=0))
    return ["".join(units[start:end]) for start, end in itertools.pairwise(ends)]


def _cost(letter: str, sounds: str, costs: Costs) -> float:
    if sounds in costs.get(letter, ()):
        return costs[letter][sounds]
    if not costs and letter == sounds:
        return OWN
    unlike = sum(
        letter not in (OF_VOWELS if sound in VOWELS else OF_CONSONANTS) for sound in sounds
    )
    return UNSEEN[len(sounds)] + UNLIKE * unlike + (LATER if costs else 0)


def _bare(sounds: str) -> str:
    return re.sub(f"[{STRESS}]", "", sounds)


def _grow(places: Sequence[Place], left: int, right: int, worth: float) -> Tree:
    """Return the tree of places that agree on `left` letters before and `right` letters after."""
    sound, wrong = _usual(places)
    tree = Tree(sound, wrong)
    is_open = {
        right + 1: places[0].letter_at(right) != EDGE,
        -left - 1: places[0].letter_at(-left) != EDGE,
    }
    groups = {offset: _group(places, offset) for offset in is_open if is_open[offset] and wrong}
    if not groups:
        return tree
    offset = min(groups, key=lambda offset: _hardness(groups[offset], BUSHY * worth))
    tree.is_left = offset < 0
    for letter, its in groups[offset].items():
        branch = _grow(its, max(left, -offset), max(right, offset), worth)
        gain = sum(place.weight for place in its if place.sound != sound) - branch.wrong
        if gain > worth * branch.size:
            tree.branches[letter] = branch
            tree.wrong -= gain
            tree.size += branch.size
    return tree


def _usual(places: Sequence[Place]) -> tuple[str, float]:
    """Return the sound with the highest weight, and the weight of all others."""
    tally: dict[str, float] = defaultdict(float)
    for place in places:
        tally[place.sound] += place.weight
    sound = max(tally, key=tally.__getitem__)
    return sound, sum(tally.values()) - tally[sound]


def _group(places: Sequence[Place], offset: int) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        found[place.letter_at(offset)].append(place)
    return found


def _hardness(groups: Mapping[str, Sequence[Place]], each: float) -> float:
    return sum(_usual(its)[1] + each for its in groups.values())
