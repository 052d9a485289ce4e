"""Rules for English abbreviations and Roman numerals, in a text whose numbers are words already.

Each is written in full at any place; the context only decides how. None is left, so applying the
rules again changes nothing. A full stop that may also end the sentence is kept.
"""

import re

from higgs_worker.text.normalise.numerals import english, english_ordinal
from higgs_worker.text.normalise.roman import parse_roman
from higgs_worker.text.normalise.rule import Rule, either, listed, rule

_TITLES = {
    "Mr": "Mister",
    "Mrs": "Missus",
    "Ms": "Ms",
    "Dr": "Doctor",
    "Prof": "Professor",
    "Rev": "Reverend",
    "Gen": "General",
    "Col": "Colonel",
    "Maj": "Major",
    "Capt": "Captain",
    "Cpt": "Captain",
    "Lt": "Lieutenant",
    "Sgt": "Sergeant",
    "Cmdr": "Commander",
    "Sen": "Senator",
    "Gov": "Governor",
    "Hon": "Honorable",
    "Mt": "Mount",
}
_OTHERS = {
    "etc": "et cetera",
    "vs": "versus",
    "approx": "approximately",
    "dept": "department",
    "est": "established",
    "govt": "government",
    "inc": "incorporated",
    "ltd": "limited",
    "corp": "corporation",
    "bros": "brothers",
    "jr": "junior",
    "sr": "senior",
    "ave": "avenue",
    "blvd": "boulevard",
    "rd": "road",
    "hwy": "highway",
    "pkwy": "parkway",
    "misc": "miscellaneous",
    "incl": "including",
    "vol": "volume",
    "fig": "figure",
    "figs": "figures",
    "cf": "compare",
    "viz": "namely",
    "e.g": "for example",
    "i.e": "that is",
    "et al": "and others",
}
_WITHOUT_STOP = {"vs": "versus", "etc": "et cetera", "eg": "for example", "ie": "that is"}
_NUMBERED = listed(
    "Act Appendix Article Book Chapter Class Figure Grade Level Lesson Number Page Part Phase "
    "Scene Season Section Stage Step Table Title Tome Type Unit Volume War Bowl"
)
_RULERS = listed(
    "Alexander Benedict Catherine Charles Christian Clement Edward Elizabeth Francis "
    "Frederick George Gregory Gustav Henry Innocent Ivan James John Leo Louis Mary Napoleon "
    "Nicholas Paul Peter Philip Pius Ptolemy Ramesses Richard Wilhelm William"
)
_CLOSING = frozenset(listed("etc inc ltd corp bros jr sr ave blvd rd hwy pkwy"))
"""Abbreviations that may end a sentence; after them a capital letter starts another one."""
_AT_END = r"(?P<end>(?=[\"']*(?:\s*\Z|\n)))?"
_BEFORE_CAPITAL = r"(?P<capital>(?=[ ][\"']?(?-i:[A-Z])))?(?!\w)"
_NEW_SENTENCE = (
    r"(?=[ ](?:He|She|It|We|They|I|You|The|A|An|In|On|At|But|And|Then|There|This|That)\b)"
)


def _like(written: str, word: str) -> str:
    return word[0].upper() + word[1:] if written[0].isupper() else word


def _other(match: re.Match[str]) -> str:
    said = _like(match[1], _OTHERS[match[1].lower()])
    may_close = match[1].lower() in _CLOSING and match["capital"] is not None
    return said + "." if may_close or match["end"] is not None else said


def _numbered(match: re.Match[str]) -> str | None:
    number = parse_roman(match[2])
    return None if number is None else f"{match[1]} {english(number)}"


def _ruler(match: re.Match[str]) -> str | None:
    number = parse_roman(match[2])
    return None if number is None else f"{match[1]} the {english_ordinal(number)}"


def _half_of_a_day(match: re.Match[str]) -> str:
    closes = match["end"] is not None or match["capital"] is not None
    return match[1].upper() + "M" + ("." if closes else "")


def _stop(match: re.Match[str]) -> str:
    return "" if match["end"] is None else "."


RULES: tuple[Rule, ...] = (
    rule("Street and a new sentence", rf"(?<![\w.])St\.{_NEW_SENTENCE}", "Street."),
    rule("Saint", r"(?<![\w.])St\.(?=[ ][A-Z])", "Saint"),
    rule("Street", rf"(?<![\w.])St\.{_AT_END}(?!\w)", lambda m: "Street" + _stop(m)),
    rule("Drive", r"(?<=[a-z] )(?<!the )(?<!a )Dr\.(?=,)", "Drive"),
    rule(
        "title",
        rf"(?<![\w.])({either(_TITLES)})\.{_AT_END}(?!\w)",
        lambda m: _TITLES[m[1]] + _stop(m),
    ),
    rule(
        "abbreviation",
        rf"(?<![\w.])({either(_OTHERS)})\.{_AT_END}{_BEFORE_CAPITAL}",
        _other,
        re.IGNORECASE,
    ),
    rule(
        "abbreviation without a stop",
        rf"(?<![\w.'-])({either(_WITHOUT_STOP)})(?![\w.'-])",
        lambda m: _like(m[1], _WITHOUT_STOP[m[1].lower()]),
        re.IGNORECASE,
    ),
    rule("half of a day", rf"\b([apAP])\.[mM]\.{_AT_END}{_BEFORE_CAPITAL}", _half_of_a_day),
    rule("degree", rf"\bPh\.D\.{_AT_END}(?!\w)", lambda m: "PhD" + _stop(m)),
    rule("numbered", rf"\b({either(_NUMBERED)}) ([IVXLCM]{{1,15}})(?![\w'])", _numbered),
    rule(
        "numbered in lower case",
        rf"\b({either(map(str.lower, _NUMBERED))}) ([IVXLCM]{{2,15}}|[VX])(?![\w'])",
        _numbered,
    ),
    rule("ruler", rf"\b({either(_RULERS)}) ([IVX]{{2,8}}|[VX])(?![\w'.])", _ruler),
    rule("ruler at an end", rf"\b({either(_RULERS)}) ([IVX]{{2,8}}|[VX])(?=\.)", _ruler),
)
