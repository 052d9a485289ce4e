"""Rules for English: numbers, dates, times, abbreviations and symbols.

American unless the region differs; elsewhere the day precedes the month, and numbers have an "and".
"""

import re
from functools import cache, partial

from higgs_worker.text.normalise import addresses, quantities
from higgs_worker.text.normalise.language_rules import LanguageRules
from higgs_worker.text.normalise.languages import english_abbreviations, english_dates
from higgs_worker.text.normalise.languages.english_tables import (
    ADDRESS,
    MAGNITUDES,
    MONEY,
    SYMBOLS,
    UNITS,
)
from higgs_worker.text.normalise.locale import Locale
from higgs_worker.text.normalise.numerals import english, english_ordinal
from higgs_worker.text.normalise.rule import END, START, Rule, either, rule

_STANDING_ALONE = frozenset(((24, 7), (9, 11), (7, 11), (50, 50)))


@cache
def language_rules(region: str = "US") -> LanguageRules:
    """Return the rules for English in a region."""
    is_american = region in ("US", "CA", "PH", "")
    locale = Locale(
        cardinal=english if is_american else partial(english, link="and "),
        digits=[english(digit) for digit in range(10)],
        group_marks=",",
        decimal_mark=r"\.",
        point="point",
        minus="minus",
        plus="plus",
        plus_minus="plus or minus",
        to=" to ",
        percent="{} percent",
        money=MONEY,
        money_parts="{} and {}",
        units=UNITS,
        magnitudes=MAGNITUDES,
        fraction=_fraction,
        number_word="number {}",
        powers={"2": "{} squared", "3": "{} cubed", "n": "{} to the power of {}"},
        operators={
            "×": "times",
            "x": "by",
            "*": "times",
            "÷": "divided by",
            "/": "over",
            "<": "is less than",
            ">": "is greater than",
        },
        symbols=SYMBOLS,
        address=ADDRESS,
    )
    return LanguageRules(
        amounts=(
            *_spellings(),
            *english_dates.dates(is_american),
            quantities.time_ranges(locale),
            *english_dates.times(),
            *addresses.rules(locale),
            *_named(locale),
            english_dates.decades(),
            *quantities.rules(locale),
            *english_dates.years(),
            _ordinals(locale),
            *quantities.remainder(locale),
            *quantities.symbols(locale),
        ),
        words=english_abbreviations.RULES,
    )


def _fraction(above: int, below: int) -> str | None:
    if (above, below) in _STANDING_ALONE:
        return f"{english(above)} {english(below)}"
    if below > 100:
        return f"{english(above)} over {english(below)}"
    name = {2: "half", 4: "quarter"}.get(below) or english_ordinal(below)
    if above == 1:
        return f"one {name}"
    return f"{english(above)} {'halves' if below == 2 else name + 's'}"


def _spellings() -> tuple[Rule, ...]:
    """Return the rules for terms that are written with symbols."""
    return (
        rule("C sharp", rf"{START}([CF])#(?!\w)", r"\1 sharp"),
        rule(
            "with", rf"{START}w/(o(?!\w))?[ ]?(?=[a-z ])", lambda m: "without " if m[1] else "with "
        ),
        rule("care of", rf"{START}c/o{END}", "care of"),
        rule("not applicable", rf"{START}([Nn])/([Aa]){END}", r"\1 \2"),
        rule("about", r"(?<![\w~])~[ ]?(?=[$€£]?[0-9])", "about "),
        rule("feet", rf"{START}([0-9]{{1,3}})'(?=[ ](?:tall|wide|long|high|deep)\b)", r"\1 ft"),
        rule("hexadecimal", rf"{START}0x([0-9A-Fa-f]{{1,16}}){END}", _hexadecimal),
        rule("lines of a picture", rf"{START}(480|720|1080|1440|2160)p{END}", _lines),
        rule("short call", r"\b(?i:(call|dial|text)) ([0-9]{3})(?![\w-]|[.,:][0-9])", _short_call),
        rule("local phone", rf"{START}(?<![-(])[2-9][0-9]{{2}}-[0-9]{{4}}{END}(?!-)", _local_phone),
        rule("feet and inches", rf"{START}([0-9]{{1,3}})'[ ]?([0-9]{{1,2}})(?:\"|'')", _feet),
    )


def _spell(digits: str) -> str:
    return " ".join(english(int(digit)) for digit in digits)


def _hexadecimal(match: re.Match[str]) -> str:
    said = (english(int(each)) if each.isdigit() else each.upper() for each in match[1])
    return f"zero x {' '.join(said)}"


def _lines(match: re.Match[str]) -> str:
    return f"{english_dates.year(int(match[1]))} p"


def _short_call(match: re.Match[str]) -> str:
    return f"{match[1]} {_spell(match[2])}"


def _local_phone(match: re.Match[str]) -> str | None:
    """Return seven digits as a phone number; None if they look like a range of round numbers."""
    if match[0].endswith("00") and match[0][2] == "0":
        return None
    return ", ".join(map(_spell, match[0].split("-")))


def _feet(match: re.Match[str]) -> str:
    feet, inches = int(match[1]), int(match[2])
    return (
        f"{english(feet)} {'foot' if feet == 1 else 'feet'} "
        f"{english(inches)} {'inch' if inches == 1 else 'inches'}"
    )


def _named(locale: Locale) -> tuple[Rule, ...]:
    """Return the rules for abbreviations that are unambiguous only before a number."""
    names = {"p.": "page", "pp.": "pages", "vol.": "volume", "ch.": "chapter", "fig.": "figure"}
    names |= {
        "sec.": "section",
        "art.": "article",
        "ca.": "circa",
        "c.": "circa",
        "approx.": "approximately",
    }
    names |= {"no.": "number", "nos.": "numbers", "eq.": "equation", "tab.": "table", "v.": "verse"}

    def say(match: re.Match[str]) -> str:
        word = names[match[1].lower()]
        return word.capitalize() if match[1][0].isupper() and word != "number" else word

    return (
        rule(
            "named number",
            rf"(?<![\w.])({either(names)})[ ]?(?=[0-9])",
            lambda m: say(m) + " ",
            re.I,
        ),
        rule("rank", r"(?<!\w)#[ ]?(?=[0-9])", "number "),
    )


def _ordinals(locale: Locale) -> Rule:
    return rule(
        "ordinal",
        rf"{START}([0-9]{{1,3}}(?:,?[0-9]{{3}}){{0,4}})(?:st|nd|rd|th|ST|ND|RD|TH){END}",
        lambda m: english_ordinal(int(m[1].replace(",", ""))),
    )
