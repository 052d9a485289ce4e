"""What has to be known of a language to read its numbers, amounts and symbols aloud.

A locale is data and a few small functions; the rules made from it are in `quantities` and
`addresses`. Each supported language makes one in the file of its name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

MAX_DIGITS = 15
"""Longer numbers are read digit by digit, as are those that begin with a zero."""


@dataclass(frozen=True, slots=True)
class Noun:
    """What is counted."""

    one: str
    """With its number: "one hour", "eine Stunde"."""
    many: str


@dataclass(frozen=True, slots=True)
class Money:
    """A currency and its hundredth, where that is said."""

    whole: Noun
    part: Noun | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Locale:
    """The words of a language, and how it puts numbers together."""

    cardinal: Callable[[int], str]
    digits: Sequence[str]
    """Zero to nine, as they are said one by one."""
    group_marks: str
    """What may stand between thousands, as a character class."""
    decimal_mark: str
    point: str
    """How the decimal mark is said."""
    minus: str
    plus: str
    plus_minus: str
    to: str
    """Between the ends of a range, with its spaces."""
    percent: str
    """With {} where the number goes, as in all templates."""
    money: Mapping[str, Money]
    """By symbol and by ISO 4217 code."""
    units: Mapping[str, Noun]
    """By what is written; a power is written `m^2`."""
    fraction: Callable[[int, int], str | None]
    money_parts: str | None = None
    """A whole and its hundredths: "{} and {}"; None: hundredths are read as decimals."""
    names_parts: bool = True
    """Whether the hundredths are named: not in "drei Euro fünfzig"."""
    magnitudes: Mapping[str, str] = field(default_factory=dict)
    """By what stands between a number and its unit: k, million, Mrd."""
    singular_magnitudes: Mapping[str, str] = field(default_factory=dict)
    """What is said for one of them with its number, where that differs: "eine Million"."""
    of_magnitude: Callable[[str, str], str] = "{} {}".format
    """Puts a number with a magnitude before what it counts: "un million d'euros"."""
    number_word: str = "number {}"
    """No. 5, #5."""
    powers: Mapping[str, str] = field(default_factory=dict)
    """By exponent, with {} for the base; `n` is any other, with {} twice."""
    operators: Mapping[str, str] = field(default_factory=dict)
    """What is said between two numbers: ×, /, =."""
    symbols: Mapping[str, str] = field(default_factory=dict)
    """What is said anywhere: &, +, =, §."""
    address: Mapping[str, str] = field(default_factory=dict)
    """What is said within addresses: dot, slash, at …"""
    word_gap: str = " "
    """Between a number and what it counts."""
    digit_gap: str = " "
    """Between digits that are said one by one."""
    decimals_as_number: bool = False
    """3,14 is three comma fourteen."""
    before_noun: Callable[[str], str] = str
    """How a number changes before what it counts."""
    is_plural: Callable[[float], bool] = lambda amount: True
    """Of amounts that are not written as a plain 1."""

    @property
    def number(self) -> str:
        """A pattern for a number without sign, as this language writes it."""
        group, mark = self.group_marks, self.decimal_mark
        whole = rf"(?>[0-9]{{1,3}}(?:[{group}][0-9]{{3}}){{1,4}}(?![0-9])|[0-9]{{1,15}}(?![0-9]))"
        return rf"{whole}(?:{mark}[0-9]{{1,15}}(?![0-9]))?+"

    def read(self, number: str) -> str:
        """Say a number that matched `number`."""
        mark = self.decimal_mark.removeprefix("\\")
        whole, _, decimals = number.partition(mark)
        said = self.integer(whole)
        if not decimals:
            return said
        is_number = self.decimals_as_number and len(decimals) <= 2 and decimals[0] != "0"
        after = self.cardinal(int(decimals)) if is_number else self.spell(decimals)
        return self.joined(said, self.point, after)

    def integer(self, digits: str) -> str:
        """Say a whole number; one that cannot be a quantity is said digit by digit."""
        plain = "".join(filter(str.isdigit, digits))
        if len(plain) > MAX_DIGITS or (plain[0] == "0" and len(plain) > 1):
            return self.spell(plain)
        return self.cardinal(int(plain))

    def spell(self, digits: str) -> str:
        """Say digit by digit."""
        return self.digit_gap.join(self.digits[int(digit)] for digit in digits)

    def code(self, digits: str) -> str:
        """Say the digits of a name, like those of MP3 or A380."""
        return self.integer(digits) if len(digits) <= 2 else self.spell(digits)

    def joined(self, *words: str) -> str:
        """Put words together as this language does around numbers."""
        return self.word_gap.join(filter(None, words))

    def count(self, number: str, noun: Noun) -> str:
        """Say how many there are of something."""
        if number == "1":
            return noun.one
        said = self.before_noun(self.read(number))
        if self.is_plural(self.value(number)):
            if "{" in noun.many:
                return noun.many.format(said)
            if said.rpartition(" ")[2] in self.singular_magnitudes:
                return self.of_magnitude(said, noun.many)
            return self.joined(said, noun.many)
        return self.joined(said, noun.one.partition(" ")[2])

    def value(self, number: str) -> float:
        """Return what a number amounts to."""
        mark = self.decimal_mark.removeprefix("\\")
        whole, _, decimals = number.partition(mark)
        return float("".join(filter(str.isdigit, whole)) + "." + (decimals or "0"))


def nouns(table: str) -> dict[str, Noun]:
    """Read units from lines of `km, kilometer | one kilometer | kilometers`."""
    found = {}
    for line in table.strip().splitlines():
        written, one, many = (part.strip() for part in line.split("|"))
        found.update(dict.fromkeys((each.strip() for each in written.split(",")), Noun(one, many)))
    return found


def currencies(table: str) -> dict[str, Money]:
    """Read currencies from lines of `$, USD | one dollar | dollars | one cent | cents`."""
    found = {}
    for line in table.strip().splitlines():
        written, *words = (part.strip() for part in line.split("|"))
        part = Noun(words[2], words[3]) if len(words) == 4 else None
        money = Money(Noun(words[0], words[1]), part)
        found.update(dict.fromkeys((each.strip() for each in written.split(",")), money))
    return found
