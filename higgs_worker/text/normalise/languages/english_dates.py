"""Rules for English dates, times, years and decades; outside America the day comes first."""

import re

from higgs_worker.text.normalise.numerals import english, english_ordinal
from higgs_worker.text.normalise.rule import END, START, Rule, either, listed, rule

_MONTHS = listed(
    "January February March April May June July August September October November December"
)
_MONTH_OF = {name[:3]: name for name in _MONTHS} | {name: name for name in _MONTHS}
_MONTH_OF["Sept"] = "September"
_MONTH = rf"(?P<month>{either(_MONTH_OF)})\b\.?"
_YEAR = r"(?P<year>[12][0-9]{3})(?![0-9]|[ ]?-[ ]?[0-9])"
_NTH = "(?:st|nd|rd|th)?"
_HALF = r"(?:[ ]?(?P<half>[AaPp])(?:\.[Mm]\.|[Mm](?![\w.]*[\w])))"


def year(number: int) -> str:
    """Return a year in words: nineteen eighty-four, two thousand five, twenty twenty-six."""
    century, rest = divmod(number, 100)
    if century % 10 == 0 and rest < 10:
        return english(number)
    if rest == 0:
        return f"{english(century)} hundred"
    return f"{english(century)} {'oh ' if rest < 10 else ''}{english(rest)}"


def dates(is_american: bool) -> tuple[Rule, ...]:
    """Return the rules for dates, with months in digits and by name."""

    def said(day: int, month: int, year_words: str) -> str | None:
        if not (1 <= month <= 12 and 1 <= day <= 31):
            return None
        name, which = _MONTHS[month - 1], english_ordinal(day)
        date = f"{name} {which}" if is_american else f"the {which} of {name}"
        return f"{date}, {year_words}" if year_words else date

    def slashes(match: re.Match[str]) -> str | None:
        first, second = int(match["first"]), int(match["second"])
        is_day_first = match["mark"] != "/" or not is_american
        if (second > 12) if is_day_first else (first > 12):
            is_day_first = not is_day_first
        day, month = (first, second) if is_day_first else (second, first)
        number = int(match["year"])
        if number < 100:
            number += 2000 if number < 50 else 1900
        return said(day, month, year(number))

    def nth(digits: str) -> str:
        return english_ordinal(int(digits))

    def day_month(match: re.Match[str]) -> str | None:
        if not 1 <= int(match["day"]) <= 31:
            return None
        tail = f", {year(int(match['year']))}" if match["year"] else ""
        return f"{match['the'] or 'the '}{nth(match['day'])} of {_MONTH_OF[match['month']]}{tail}"

    def month_day(match: re.Match[str]) -> str | None:
        if not 1 <= int(match["day"]) <= 31:
            return None
        tail = f", {year(int(match['year']))}" if match["year"] else ""
        return f"{_MONTH_OF[match['month']]} {nth(match['day'])}{tail}"

    return (
        rule(
            "ISO date",
            rf"{START}(?P<year>[12][0-9]{{3}})([-/.])([0-9]{{1,2}})\2([0-9]{{1,2}})(?:T(?=[0-9]))?(?![0-9])",
            lambda m: said(int(m[4]), int(m[3]), year(int(m["year"]))),
        ),
        rule(
            "date",
            rf"{START}(?P<first>[0-9]{{1,2}})(?P<mark>[/.-])(?P<second>[0-9]{{1,2}})(?P=mark)"
            rf"(?P<year>[12][0-9]{{3}}|[0-9]{{2}}){END}(?![/.-][0-9])",
            slashes,
        ),
        rule(
            "days of a month",
            rf"{START}(?<![.,:/$-])([0-9]{{1,2}}){_NTH}[ ]?-[ ]?([0-9]{{1,2}}){_NTH}[ ]{_MONTH}{END}",
            lambda m: f"{nth(m[1])} to {nth(m[2])} of {_MONTH_OF[m['month']]}",
        ),
        rule(
            "month and days",
            rf"\b{_MONTH}[ ]([0-9]{{1,2}}){_NTH}[ ]?-[ ]?([0-9]{{1,2}}){_NTH}{END}(?![:/.]?[0-9])",
            lambda m: f"{_MONTH_OF[m['month']]} {nth(m[2])} to {nth(m[3])}",
        ),
        rule(
            "day and month",
            rf"{START}(?<![.,:/$-])(?P<the>the )?(?P<day>[0-9]{{1,2}}){_NTH}[ ](?:of )?{_MONTH}(?:,?[ ]{_YEAR})?",
            day_month,
        ),
        rule(
            "month and day",
            rf"\b{_MONTH}[ ](?P<day>[0-9]{{1,2}}){_NTH}(?![0-9:%/]|[.,][0-9])(?![ ]?[ap]\.?m\b)(?:,?[ ]{_YEAR})?{END}",
            month_day,
        ),
        rule(
            "month and year",
            rf"\b{_MONTH},?[ ]{_YEAR}{END}",
            lambda m: f"{_MONTH_OF[m['month']]} {year(int(m['year']))}",
        ),
    )


def times() -> tuple[Rule, ...]:
    """Return the rules for times of the day."""

    def clock(match: re.Match[str]) -> str | None:
        hour, minute = int(match["hour"]), int(match["minute"])
        if hour > 24 or minute > 59:
            return None
        words = [english(hour)]
        if minute:
            words.append(("oh " if minute < 10 else "") + english(minute))
        elif not match["half"] and not match["second"]:
            words.append("o'clock" if 1 <= hour <= 12 else "hundred")
        if match["second"]:
            seconds = int(match["second"])
            words.append(f"and {english(seconds)} second{'' if seconds == 1 else 's'}")
        return " ".join(words) + _half_day(match)

    def whole(match: re.Match[str]) -> str | None:
        return english(int(match["hour"])) + _half_day(match)

    return (
        rule(
            "time",
            rf"{START}(?<![0-9][.,:])(?P<hour>[0-2]?[0-9])[:](?P<minute>[0-5][0-9])"
            rf"(?::(?P<second>[0-5][0-9]))?(?![0-9:]){_HALF}?",
            clock,
        ),
        rule(
            "time with a dot",
            rf"{START}(?P<hour>[0-1]?[0-9])\.(?P<minute>[0-5][0-9])(?P<second>){_HALF}",
            clock,
        ),
        rule("hour", rf"{START}(?<![0-9][.,:])(?P<hour>[0-1]?[0-9]){_HALF}", whole),
        rule("ratio", rf"{START}([0-9]{{1,4}}):([0-9]{{1,4}})(?![0-9:])", r"\1 to \2"),
    )


def _half_day(match: re.Match[str]) -> str:
    """Return AM or PM, or ""; a full stop that also ends the sentence is kept."""
    if not match["half"]:
        return ""
    rest = match.string[match.end() : match.end() + 3]
    ends = match[0].endswith(".") and (not rest.strip() or rest[0] == "\n" or rest[1:2].isupper())
    return f" {match['half'].upper()}M" + ("." if ends else "")


def decades() -> Rule:
    """Return the rule for 1990s and '90s."""

    def decade(match: re.Match[str]) -> str:
        century, tens = match[1] or "", int(match[2])
        if tens:
            name = "tens" if tens == 1 else f"{english(tens * 10)[:-1]}ies"
            return f"{english(int(century))} {name}" if century else name
        return "two thousands" if century == "20" else f"{english(int(century or 0))} hundreds"

    return rule("decade", rf"{START}'?(1[0-9]|20)?([0-9])0'?s{END}", decade)


def years() -> tuple[Rule, ...]:
    """Return the rules for numbers that are years; they are read in pairs of digits."""
    return (
        rule("year of two digits", r"(?<![\w'])'([0-9]{2})(?![\w'])", lambda m: _short_year(m[1])),
        rule(
            "year in its context",
            rf"\b(?i:(in|since|year|by|from|until|till|circa|of|around|AD|before|after|early|late))([ ])"
            rf"(1[0-4][0-9]{{2}}){END}(?![.,:][0-9])",
            lambda m: f"{m[1]} {year(int(m[3]))}",
        ),
        rule(
            "year",
            rf"{START}(?<![0-9][.,:/])(?<![$€£¥+-])(1[5-9][0-9]{{2}}|20[0-9]{{2}}){END}(?![.,:/][0-9])",
            lambda m: year(int(m[1])),
        ),
    )


def _short_year(digits: str) -> str:
    return f"oh {english(int(digits))}" if digits[0] == "0" else english(int(digits))
