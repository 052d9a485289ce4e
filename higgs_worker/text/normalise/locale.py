"""The words and conventions by which a language reads numbers, amounts and symbols aloud.

A locale is data and a few small functions. `quantities` and `addresses` make rules from it. Each
supported language makes one in its own file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

MAX_DIGITS = 15
"""Longer numbers are read digit by digit, as are numbers that start with a zero."""


@dataclass(frozen=True, slots=True)
class Noun:
    """The name of something that is counted."""

    one: str
    """One of it, number included: "one hour", "eine Stunde"."""
    many: str
    """Several of it, without the number: "hours"; with {} if the number stands within."""


@dataclass(frozen=True, slots=True)
class Money:
    """The names of a currency and, if it is spoken, of its hundredth."""

    whole: Noun
    part: Noun | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Locale:
    """The words of a language, and how it reads numbers."""

    cardinal: Callable[[int], str]
    """Returns a whole number in words."""
    digits: Sequence[str]
    """Zero to nine, as they are read one by one."""
    group_marks: str
    """Marks between thousands, for a character class."""
    decimal_mark: str
    """The mark itself, as a regular expression."""
    point: str
    """The word for the decimal mark."""
    minus: str
    plus: str
    plus_minus: str
    to: str
    """The word between the ends of a range, with its spaces."""
    percent: str
    """A template: {} stands for the number, as in all templates."""
    money: Mapping[str, Money]
    """By symbol and by ISO 4217 code."""
    units: Mapping[str, Noun]
    """By the written unit; a power is written `m^2`."""
    fraction: Callable[[int, int], str | None]
    """Returns a fraction in words; None if it is not read as one."""
    money_parts: str | None = None
    """Template for a whole and its hundredths: "{} and {}"; None: they are read as decimals."""
    names_parts: bool = True
    """Whether hundredths get their name; they do not in "drei Euro fünfzig"."""
    magnitudes: Mapping[str, str] = field(default_factory=dict)
    """Words by what is written between a number and its unit: k, million, Mrd."""
    singular_magnitudes: Mapping[str, str] = field(default_factory=dict)
    """One of a magnitude with its number, if that differs: "eine Million"."""
    of_magnitude: Callable[[str, str], str] = "{} {}".format
    """Joins a number with a magnitude and its noun: "un million d'euros"."""
    number_word: str = "number {}"
    """Template for No. 5 and #5."""
    powers: Mapping[str, str] = field(default_factory=dict)
    """Templates by exponent, with {} for the base; `n` is any other one, with {} twice."""
    operators: Mapping[str, str] = field(default_factory=dict)
    """Words for signs between two numbers: ×, /, =."""
    symbols: Mapping[str, str] = field(default_factory=dict)
    """Words for signs at any place: &, +, =, §."""
    address: Mapping[str, str] = field(default_factory=dict)
    """Words for signs in addresses: dot, slash, at …"""
    word_gap: str = " "
    """What separates a number and its noun."""
    digit_gap: str = " "
    """What separates digits that are read one by one."""
    decimals_as_number: bool = False
    """Whether 3,14 is read as three comma fourteen, not one four."""
    before_noun: Callable[[str], str] = str
    """Returns the form of a number before its noun."""
    is_plural: Callable[[float], bool] = lambda amount: True
    """Returns whether an amount other than a plain 1 takes the plural."""

    @property
    def number(self) -> str:
        """Return a pattern for an unsigned number, as this language writes it."""
        group, mark = self.group_marks, self.decimal_mark
        whole = rf"(?>[0-9]{{1,3}}(?:[{group}][0-9]{{3}}){{1,4}}(?![0-9])|[0-9]{{1,15}}(?![0-9]))"
        return rf"{whole}(?>(?:{mark}[0-9]{{1,15}}(?![0-9]))?)"

    def read(self, number: str) -> str:
        """Return the words for a number that matched `number`."""
        mark = self.decimal_mark.removeprefix("\\")
        whole, _, decimals = number.partition(mark)
        said = self.integer(whole)
        if not decimals:
            return said
        is_number = self.decimals_as_number and len(decimals) <= 2 and decimals[0] != "0"
        after = self.cardinal(int(decimals)) if is_number else self.spell(decimals)
        return self.joined(said, self.point, after)

    def integer(self, digits: str) -> str:
        """Return the words for a whole number; one that cannot be a quantity is spelled."""
        plain = "".join(filter(str.isdigit, digits))
        if len(plain) > MAX_DIGITS or (plain[0] == "0" and len(plain) > 1):
            return self.spell(plain)
        return self.cardinal(int(plain))

    def spell(self, digits: str) -> str:
        """Return the digits one by one, in words."""
        return self.digit_gap.join(self.digits[int(digit)] for digit in digits)

    def code(self, digits: str) -> str:
        """Return the words for the digits of a name, such as MP3 or A380."""
        return self.integer(digits) if len(digits) <= 2 else self.spell(digits)

    def joined(self, *words: str) -> str:
        """Join words as this language does around numbers."""
        return self.word_gap.join(filter(None, words))

    def count(self, number: str, noun: Noun) -> str:
        """Return a number and its noun in words."""
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
        """Return the value of a written number."""
        mark = self.decimal_mark.removeprefix("\\")
        whole, _, decimals = number.partition(mark)
        return float("".join(filter(str.isdigit, whole)) + "." + (decimals or "0"))


def nouns(table: str) -> dict[str, Noun]:
    """Return units by what is written, from lines of `km, kilometer | one kilometer | kilometers`."""
    found = {}
    for line in table.strip().splitlines():
        written, one, many = (part.strip() for part in line.split("|"))
        found.update(dict.fromkeys((each.strip() for each in written.split(",")), Noun(one, many)))
    return found


def currencies(table: str) -> dict[str, Money]:
    """Return currencies by symbol and code, from lines of `$, USD | one dollar | dollars | one cent | cents`."""
    found = {}
    for line in table.strip().splitlines():
        written, *words = (part.strip() for part in line.split("|"))
        part = Noun(words[2], words[3]) if len(words) == 4 else None
        money = Money(Noun(words[0], words[1]), part)
        found.update(dict.fromkeys((each.strip() for each in written.split(",")), money))
    return found
