"""How letters sound: rules that a pronouncing dictionary teaches, for words beyond it too.

A rule says how one letter sounds between some letters on its left and some on its right. Rules of a
letter make a tree: whatever stands around the letter, exactly one of them holds, the one that knows
most of it. Words that matter are said exactly so, at the price of rules that hold for one word.
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
"""Stands before the first letter of a word and after the last."""
MOST_SOUNDS = 3
"""That one letter can stand for, as in "x" and in "one"."""
ROUNDS = 6
NUM_ALIGNED = 15_000
"""So many words teach which sounds a letter stands for at all."""
VOWELS = frozenset("AIOWYaiuæɐɑɔəɛɜɪʊʌᵊᵻ")
OF_VOWELS, OF_CONSONANTS = frozenset("aeiouyw"), frozenset("bcdfghjklmnpqrstuvwxyz")
"""Letters for them; the rest have no sound."""
OWN = 0.5
"""What it costs, in nats as all does, that a letter has the sound whose sign it is."""
UNSEEN = (3.0, 2.5, 6.0, 9.0)
"""That it has none, another one, two, three; until it has been seen."""
UNLIKE = 4.0
"""That a vowel is a consonant's, or the other way round."""
LATER = 7.0
"""What has not been seen costs so much more when others have."""
BUSHY = 0.3
"""What a branch costs, of what a rule costs, where the side to look at next is chosen."""

_SOUND = re.compile(rf"[{STRESS}]?[^{STRESS}]")

Costs = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class SpellingRule:
    """In this place, a letter sounds so."""

    letter: str
    left: str
    """The letters that stand before it."""
    right: str
    not_before: str
    """None of these stands before `left`: then another rule holds."""
    not_after: str
    sound: str
    """One sound, several or none."""


@dataclass(frozen=True, slots=True)
class Place:
    """A letter of a word, its sound there, and what it is worth."""

    word: str
    """Between its edges."""
    index: int
    sound: str
    weight: float

    def seen(self, offset: int) -> str:
        """Tell which letter stands there from it, an edge included."""
        return self.word[self.index + offset]


@dataclass(slots=True)
class Tree:
    """Rules of a letter where a part of what surrounds it is known."""

    sound: str
    wrong: float
    """Weight of the places that it gets wrong, with all its branches."""
    size: int = 1
    is_left: bool = False
    """Whether its branches look at the next letter on the left."""
    branches: dict[str, "Tree"] = field(default_factory=dict)

    def rules(self, letter: str, left: str = "", right: str = "") -> Iterator[SpellingRule]:
        """Write down its rules."""
        others = "".join(sorted(self.branches))
        unless = (others, "") if self.is_left else ("", others)
        yield SpellingRule(letter, left, right, *unless, self.sound)
        for other, branch in self.branches.items():
            context = (other + left, right) if self.is_left else (left, right + other)
            yield from branch.rules(letter, *context)


def learn(
    dictionary: Mapping[str, str], weights: Mapping[str, float], *, worth: float
) -> list[SpellingRule]:
    """Find the rules of a dictionary.

    Args:
        dictionary: how words sound, in misaki's alphabet.
        weights: how much words matter.
        worth: weight of what a rule must at least set right, so how few rules there are.
    """
    costs = letter_costs(dictionary)
    places: dict[str, list[Place]] = defaultdict(list)
    for word, sounds in dictionary.items():
        for index, sound in enumerate(aligned(word, sounds, costs)):
            place = Place(f"{EDGE}{word}{EDGE}", index + 1, sound, weights[word])
            places[word[index]].append(place)
    return [
        rule
        for letter, its in sorted(places.items())
        for rule in _grown(its, 0, 0, worth).rules(letter)
    ]


def letter_costs(dictionary: Mapping[str, str]) -> Costs:
    """Find which sounds a letter stands for, by aligning some of the words again and again."""
    words = sorted(dictionary)
    some = random.Random(0).sample(words, min(NUM_ALIGNED, len(words)))
    costs: Costs = {}
    for _ in range(ROUNDS):
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for word in some:
            for letter, sound in zip(word, aligned(word, dictionary[word], costs), strict=False):
                counts[letter][_bare(sound)] += 1
        costs = {
            letter: {sound: math.log(its.total() / count) for sound, count in its.items()}
            for letter, its in counts.items()
        }
    return costs


def aligned(word: str, sounds: str, costs: Costs) -> list[str]:
    """Share the sounds of a word among its letters, in order, at the least cost.

    Returns:
        The sounds of each letter; empty where there are too many for the letters.
    """
    units = _SOUND.findall(sounds)
    bare = _bare(sounds)
    # Of the letters so far: the least cost at which they have so many sounds, and their shares.
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


def _grown(places: Sequence[Place], left: int, right: int, worth: float) -> Tree:
    """Grow the tree of places that look alike so far to the left and to the right."""
    sound, wrong = _usual(places)
    tree = Tree(sound, wrong)
    is_open = {right + 1: places[0].seen(right) != EDGE, -left - 1: places[0].seen(-left) != EDGE}
    parted = {offset: _parted(places, offset) for offset in is_open if is_open[offset] and wrong}
    if not parted:
        return tree
    offset = min(parted, key=lambda offset: _hardness(parted[offset], BUSHY * worth))
    tree.is_left = offset < 0
    for letter, its in parted[offset].items():
        branch = _grown(its, max(left, -offset), max(right, offset), worth)
        gain = sum(place.weight for place in its if place.sound != sound) - branch.wrong
        if gain > worth * branch.size:
            tree.branches[letter] = branch
            tree.wrong -= gain
            tree.size += branch.size
    return tree


def _usual(places: Sequence[Place]) -> tuple[str, float]:
    """Give the sound that most of the places have, and the weight of the others."""
    tally: dict[str, float] = defaultdict(float)
    for place in places:
        tally[place.sound] += place.weight
    sound = max(tally, key=tally.__getitem__)
    return sound, sum(tally.values()) - tally[sound]


def _parted(places: Sequence[Place], offset: int) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        found[place.seen(offset)].append(place)
    return found


def _hardness(parted: Mapping[str, Sequence[Place]], each: float) -> float:
    return sum(_usual(its)[1] + each for its in parted.values())
