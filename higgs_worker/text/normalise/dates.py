"""Rules for dates in digits, for languages that put the day first."""

from collections.abc import Callable

from higgs_worker.text.normalise.rule import END, START, Rule, rule

SayDate = Callable[[int, int, int, str], str]
"""Returns a date (day, month, year) in words, in the form that the word before it needs."""


def rules(say: SayDate, before: str = "(?!)") -> tuple[Rule, ...]:
    """Return the rules for 2026-12-25, 25.12.2026 and 25/12/26; `before` matches such a word."""

    def checked(before: str | None, day: str, month: str, year: str) -> str | None:
        if not (1 <= int(day) <= 31 and 1 <= int(month) <= 12):
            return None
        number = int(year)
        if len(year) == 2:
            number += 2000 if number < 50 else 1900
        said = say(int(day), int(month), number, before or "")
        return f"{before} {said}" if before else said

    first = rf"(?:\b({before})[ ])?{START}"
    return (
        rule(
            "ISO date",
            rf"{first}([12][0-9]{{3}})([-/.])([0-9]{{1,2}})\3([0-9]{{1,2}})(?:T(?=[0-9]))?(?![0-9])",
            lambda m: checked(m[1], m[5], m[4], m[2]),
        ),
        rule(
            "date",
            rf"{first}(?<![0-9][./-])([0-9]{{1,2}})([/.-])[ ]?([0-9]{{1,2}})\3[ ]?"
            rf"([12][0-9]{{3}}|[0-9]{{2}}){END}(?![/.-][0-9])",
            lambda m: checked(m[1], m[2], m[4], m[5]),
        ),
    )
