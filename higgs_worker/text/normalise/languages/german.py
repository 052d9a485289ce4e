"""Rules for German: numbers, dates, times, abbreviations and symbols."""

import re
from functools import cache

from higgs_worker.text.normalise import addresses, dates, quantities
from higgs_worker.text.normalise.abbreviations import abbreviations
from higgs_worker.text.normalise.language_rules import LanguageRules
from higgs_worker.text.normalise.languages.german_tables import (
    ADDRESS,
    MAGNITUDES,
    MONEY,
    SINGULAR_MAGNITUDES,
    SYMBOLS,
    UNITS,
    WORDS,
)
from higgs_worker.text.normalise.locale import Locale
from higgs_worker.text.normalise.numerals import german, german_ordinal
from higgs_worker.text.normalise.roman import parse_roman
from higgs_worker.text.normalise.rule import END, START, Rule, either, listed, rule

_MONTHS = listed(
    "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
)
_MONTH_OF = {name[:3]: name for name in _MONTHS} | {name: name for name in _MONTHS}
_MONTH_OF |= {"Sept": "September", "Jänner": "Jänner"}
# The word before an ordinal decides its ending.
_WEAK_N = listed(
    "am im zum vom beim dem den des einem einen seinem seinen ihrem ihren diesem diesen"
)
_WEAK_E = ["der", "die", "das", "dieser", "diese", "dieses", "jeder", "jede"]
_RANKED = listed(
    "Jahrhundert Jahrhunderts Platz Klasse Stock Etage Kapitel Auflage Weltkrieg Weltkrieges "
    "Tag Woche Mal Geburtstag Runde Staffel Folge Semester Liga Quartal Halbjahr Lebensjahr"
)
_FEMININE = ("e", "ung", "heit", "keit", "schaft", "ion", "tät")
_ARTICLE = f"(?i:{either(_WEAK_N + _WEAK_E)})"
_RANK = r"(?P<number>[0-9]{1,4})\."

_RULERS = listed(
    "Friedrich Wilhelm Ludwig Karl Heinrich Otto Johannes Benedikt Elisabeth Katharina"
)


def _year(number: int) -> str:
    century, rest = divmod(number, 100)
    if 11 <= century <= 19:
        return f"{german(century)}hundert{german(rest) if rest else ''}"
    return german(number)


def _ordinal(number: int, article: str | None) -> str:
    before = (article or "").lower()
    ending = "en" if before in _WEAK_N else "e" if before in _WEAK_E else "er"
    return german_ordinal(number) + ending


def _date(day: int, month: int, year: int, article: str) -> str:
    return f"{_ordinal(day, article)} {_MONTHS[month - 1]} {_year(year)}"


def _rank(match: re.Match[str]) -> str:
    said = _ordinal(int(match["number"]), match["article"])
    return f"{match['article']} {said}" if match["article"] else said


def _day(match: re.Match[str]) -> str | None:
    month = int(match["month"])
    if not 1 <= month <= 12:
        return None
    return f"{_rank(match)} {_MONTHS[month - 1]}"


def _month(match: re.Match[str]) -> str:
    year = f" {_year(int(match['year']))}" if match["year"] else ""
    return f"{_rank(match)} {_MONTH_OF[match['month']]}{year}"


def _clock(match: re.Match[str]) -> str | None:
    hour, minute, second = int(match[1]), int(match[2]), int(match["second"] or 0)
    if hour > 24:
        return None
    said = f"{'ein' if hour == 1 else german(hour)} Uhr"
    if minute or second:
        said += f" {german(minute)}"
    return f"{said} und {german(second)} Sekunden" if second else said


def _fraction(above: int, below: int) -> str:
    number = "ein" if above == 1 else german(above)
    if below == 2:
        return "ein halb" if above == 1 else f"{number} Halbe"
    return f"{number} {german_ordinal(below).capitalize()}el"


def _multiple(match: re.Match[str]) -> str:
    return german(int(match[1])).removesuffix("s") + "mal"


def _kapitel(match: re.Match[str]) -> str | None:
    number = parse_roman(match[2])
    return None if number is None else f"{match[1]} {german(number)}"


def _ruler(match: re.Match[str]) -> str | None:
    number = parse_roman(match[2])
    return None if number is None else f"{match[1]} der {german_ordinal(number).capitalize()}e"


def _calendar() -> tuple[Rule, ...]:
    article = rf"(?:\b(?P<article>{_ARTICLE})[ ])"
    return (
        *dates.rules(_date, _ARTICLE),
        rule(
            "day and month in digits",
            rf"{article}{_RANK}[ ]?(?P<month>[0-9]{{1,2}})\.(?![0-9])",
            _day,
        ),
        rule(
            "day and month",
            rf"{article}?{START}(?<![0-9][.,]){_RANK}[ ]?(?P<month>{either(_MONTH_OF)})\b\.?"
            rf"(?:[ ](?P<year>[12][0-9]{{3}}){END})?",
            _month,
        ),
        rule(
            "time",
            rf"{START}([0-2]?[0-9]):([0-5][0-9])(?::(?P<second>[0-5][0-9]))?(?:[ ]?Uhr\b)?(?![:0-9])",
            _clock,
        ),
        rule(
            "time with a dot", rf"{START}([0-2]?[0-9])\.([0-5][0-9])(?P<second>)[ ]?Uhr\b", _clock
        ),
        rule("one o'clock", rf"{START}1[ ]?Uhr\b", "ein Uhr"),
        rule("ratio", rf"{START}([0-9]{{1,4}}):([0-9]{{1,4}})(?![0-9:])", r"\1 zu \2"),
    )


def _ordinals() -> tuple[Rule, ...]:
    article = rf"\b(?P<article>{_ARTICLE})[ ]"
    return (
        rule("rank after an article", rf"{article}{_RANK}(?=[ ][A-ZÄÖÜa-zäöü])", _rank),
        rule(
            "rank",
            rf"(?:{article})?{START}(?<![0-9][.,]){_RANK}(?=[ ](?:{either(_RANKED)})\b)",
            _rank,
        ),
        rule(
            "one of something",
            rf"{START}(?<![0-9][.,])1[ ](?=([A-ZÄÖÜ][a-zäöüß]{{1,40}}))",
            lambda m: "eine " if m[1].endswith(_FEMININE) else "ein ",
        ),
        rule("decade", rf"{START}([0-9]{{1,4}})er{END}", lambda m: _year(int(m[1])) + "er"),
        rule("times", rf"{START}([0-9]{{1,3}})(?:x|-?mal){END}", _multiple),
        rule(
            "year",
            rf"{START}(?<![0-9][.,:/])(1[5-9][0-9]{{2}}){END}(?![.,:/][0-9])",
            lambda m: _year(int(m[1])),
        ),
    )


@cache
def language_rules(region: str = "DE") -> LanguageRules:
    """Return the rules for German; the region makes no difference."""
    locale = Locale(
        cardinal=german,
        digits=[german(digit) for digit in range(10)],
        group_marks=r". '",
        decimal_mark=",",
        point="Komma",
        minus="minus",
        plus="plus",
        plus_minus="plus minus",
        to=" bis ",
        percent="{} Prozent",
        money=MONEY,
        money_parts="{} {}",
        names_parts=False,
        units=UNITS,
        magnitudes=MAGNITUDES,
        singular_magnitudes=SINGULAR_MAGNITUDES,
        fraction=_fraction,
        number_word="Nummer {}",
        powers={"2": "{} hoch zwei", "3": "{} hoch drei", "n": "{} hoch {}"},
        operators={
            "×": "mal",
            "*": "mal",
            "÷": "durch",
            "/": "durch",
            "<": "kleiner als",
            ">": "größer als",
        },
        symbols=SYMBOLS,
        address=ADDRESS,
        before_noun=lambda said: said.removesuffix("s") if said.endswith("eins") else said,
    )
    return LanguageRules(
        amounts=(
            quantities.time_ranges(locale),
            *_calendar(),
            *addresses.rules(locale),
            *_ordinals()[:2],
            *quantities.rules(locale),
            *_ordinals()[2:],
            *quantities.remainder(locale),
            *quantities.symbols(locale),
        ),
        words=(
            abbreviations(WORDS, closing=("usw.", "usf.", "u.s.w.", "etc.")),
            rule(
                "numbered",
                r"\b(Kapitel|Band|Teil|Akt|Klasse|Weltkrieg) ([IVXLCM]{1,15})(?![\w'])",
                _kapitel,
            ),
            rule(
                "ruler",
                rf"\b({either(_RULERS)}) ([IVX]{{1,8}})\.(?=[ ]\S)",
                _ruler,
            ),
        ),
    )
