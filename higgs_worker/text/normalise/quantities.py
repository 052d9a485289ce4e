"""Rules for money, measures, percent, powers, fractions, ranges, signs and plain numbers.

The rules are made from a language's words and applied in order, the most specific first; the last
ones leave no digit. Each language has its own rules for dates and times.
"""

import re

from higgs_worker.text.normalise.locale import Locale, Money
from higgs_worker.text.normalise.rule import END, LETTERS, START, Rule, either, rule

_AT_NUMBER = rf"{START}(?<![0-9][.,])"
_SIGN = r"(?:(?<![^\s(\[{\"'/=<>≈~:,-])[-+±](?=[0-9$€£¥₩.]))"


def rules(locale: Locale) -> tuple[Rule, ...]:
    """Return the rules for everything that is counted or measured."""
    return (
        *_non_quantities(locale),
        *_money(locale),
        *_measures(locale),
        *_arithmetic(locale),
    )


def time_ranges(locale: Locale) -> Rule:
    """Return the rule for the dash between two times; apply it before the rules for times."""
    return rule(
        "time range",
        r"((?<![0-9.,:])[0-2]?[0-9](?::[0-5][0-9])?(?:[ ]?[ap]\.?m\.?)?)[ ]?-[ ]?"
        r"(?=[0-2]?[0-9]:[0-5][0-9](?![:0-9])|[01]?[0-9][ ]?[ap]\.?m)",
        lambda m: m[1] + locale.to,
    )


def remainder(locale: Locale) -> tuple[Rule, ...]:
    """Return the rules for the digits that all other rules leave."""
    number = locale.number
    return (
        rule(
            "number",
            rf"(?P<sign>{_SIGN})?{_AT_NUMBER}(?P<number>{number})(?![0-9])",
            lambda m: _signed(locale, m["sign"], locale.read(m["number"])),
        ),
        rule("code", rf"(?<=[{LETTERS}])[0-9]{{1,15}}", lambda m: locale.code(m[0])),
        rule("digits", r"[0-9]{1,15}", lambda m: locale.integer(m[0])),
    )


def symbols(locale: Locale) -> tuple[Rule, ...]:
    """Return the rules for symbols that are read at any place."""
    if not locale.symbols:
        return ()
    return (
        rule("degrees", rf"°[ ]?([CF]){END}", lambda m: _degrees(locale, m[1])),
        rule("symbol", f"[{re.escape(''.join(locale.symbols))}]", lambda m: _symbol(locale, m)),
    )


def _degrees(locale: Locale, scale: str) -> str:
    return locale.units[f"°{scale}"].many.replace("{} ", "").replace("{}", "")


def _symbol(locale: Locale, match: re.Match[str]) -> str:
    return _spaced(locale, locale.symbols[match[0]])


def _non_quantities(locale: Locale) -> tuple[Rule, ...]:
    """Return the rules for what cannot be a quantity; after them, all numbers are short."""
    mark = locale.decimal_mark
    return (
        rule(
            "long grouped number",
            rf"(?<![0-9])[0-9]{{1,3}}(?>(?:[{locale.group_marks}][0-9]{{3}}){{5,}})(?![0-9])",
            lambda m: locale.spell("".join(filter(str.isdigit, m[0]))),
        ),
        rule(
            "long number",
            rf"(?:(?<![0-9])([0-9]{{1,15}}){mark})?([0-9]{{16,}}+)",
            lambda m: _long(locale, m),
        ),
        rule(
            "serial number",
            rf"{START}[0-9]{{1,15}}(?>(?:-[0-9]{{1,15}}){{2,8}}){END}",
            lambda m: ", ".join(locale.spell(part) for part in m[0].split("-")),
        ),
        rule("minus", r"(?<=[0-9])[ ]?-[ ]?(?=[0-9]{1,15}[ ]?=)", _spaced(locale, locale.minus)),
        rule("range", r"(?<=[0-9%])[ ]?[-~][ ]?(?=[$€£¥₩]?[0-9])", locale.to),
        rule(
            "bare decimals",
            r"(?<![\w.,)])\.([0-9]{1,15})(?![0-9])",
            lambda m: locale.joined(locale.point, locale.spell(m[1])),
        ),
        *_foreign(locale),
        rule(
            "number sign",
            rf"(?:{START}(?:No\.|Nos\.|Nr\.|N[o°º]\.?|n\.?[°º]\.?|núm\.)[ ]?|(?<!\w)\#)(?=[0-9])",
            locale.number_word.replace("{}", ""),
        ),
    )


def _foreign(locale: Locale) -> tuple[Rule, ...]:
    """Return the rule that accepts a decimal point in a language that writes a comma."""
    if locale.decimal_mark != ",":
        return ()
    point = r"(?<![0-9.,])([0-9]{1,15})\.([0-9]{1,2}|[0-9]{4,15})(?![0-9])(?!\.[0-9])"
    return (rule("decimal point", point, r"\1,\2"),)


def _long(locale: Locale, match: re.Match[str]) -> str:
    if not match[1]:
        return locale.spell(match[2])
    return locale.joined(locale.integer(match[1]), locale.point, locale.spell(match[2]))


def _money(locale: Locale) -> tuple[Rule, ...]:
    number = rf"(?P<number>{locale.number})"
    name = rf"(?P<name>{either(locale.money)})"
    large = _magnitude(locale)

    def say(match: re.Match[str]) -> str:
        money = locale.money[match["name"]]
        amount = _amount(locale, money, match["number"], match["large"])
        return _signed(locale, match["sign"] or match["late"], amount)

    return (
        rule("price", rf"(?P<sign>{_SIGN})?{START}{name}[ ]?(?P<late>-)?{number}{large}", say),
        rule(
            "amount",
            rf"(?P<sign>{_SIGN})?(?P<late>){_AT_NUMBER}{number}{large}[ ]?{name}{END}",
            say,
        ),
    )


def _magnitude(locale: Locale) -> str:
    return rf"(?:[ ]?(?P<large>{either(locale.magnitudes)}){END})?"


def _amount(locale: Locale, money: Money, number: str, large: str | None) -> str:
    if large:
        return locale.of_magnitude(_large(locale, number, large), money.whole.many)
    whole, _, parts = number.partition(locale.decimal_mark.removeprefix("\\"))
    if len(parts) != 2 or money.part is None or locale.money_parts is None:
        return locale.count(number, money.whole)
    cents = parts.removeprefix("0")
    if not int(parts):
        return locale.count(whole, money.whole)
    if whole == "0":
        return locale.count(cents, money.part)
    named = locale.count(cents, money.part) if locale.names_parts else locale.integer(cents)
    return locale.money_parts.format(locale.count(whole, money.whole), named)


def _large(locale: Locale, number: str, large: str) -> str:
    word = locale.magnitudes[large]
    if number == "1" and word in locale.singular_magnitudes:
        return locale.singular_magnitudes[word]
    return locale.joined(locale.before_noun(locale.read(number)), word)


def _measures(locale: Locale) -> tuple[Rule, ...]:
    number = rf"(?P<sign>{_SIGN})?{_AT_NUMBER}(?P<number>{locale.number})"

    def unit(match: re.Match[str]) -> str:
        noun, large = locale.units[match["unit"]], match["large"]
        if large:
            said = locale.of_magnitude(_large(locale, match["number"], large), noun.many)
        else:
            said = locale.count(match["number"], noun)
        return _signed(locale, match["sign"], said)

    def percent(match: re.Match[str]) -> str:
        said = locale.percent.format(locale.read(match["number"]))
        return _signed(locale, match["sign"], said)

    large = _magnitude(locale)
    return (
        rule("percent", rf"{number}[ ]?%", percent),
        rule("measure", rf"{number}{large}[ -]?(?P<unit>{either(locale.units)}){END}(?!\^)", unit),
        rule(
            "magnitude",
            rf"{number}[ ]?(?P<large>{either(locale.magnitudes)}){END}",
            lambda m: _signed(locale, m["sign"], _large(locale, m["number"], m["large"])),
        ),
    )


def _arithmetic(locale: Locale) -> tuple[Rule, ...]:
    made = [
        rule(
            "mixed number",
            rf"{_AT_NUMBER}([0-9]{{1,6}})[ ]([1-9][0-9]?)/([1-9][0-9]?)(?![0-9/])",
            lambda m: _mixed(locale, m),
        ),
        rule(
            "fraction",
            rf"{_AT_NUMBER}([1-9][0-9]?)/([1-9][0-9]{{0,2}})(?![0-9/])",
            lambda m: _fraction(locale, int(m[1]), int(m[2])),
        ),
        *(
            rule(
                f"operator {sign}",
                rf"(?<=[0-9])[ ]?{re.escape(sign)}[ ]?(?=[-+(0-9])",
                _spaced(locale, word),
            )
            for sign, word in locale.operators.items()
        ),
    ]
    if locale.powers:
        base = rf"(?P<base>{_AT_NUMBER}[0-9]{{1,15}}|(?<![{LETTERS}])[A-Za-z]{{1,3}}(?![{LETTERS}])|\))"
        made.insert(
            0,
            rule(
                "power", rf"{base}\^(?P<power>-?[0-9]{{1,3}})(?![0-9])", lambda m: _power(locale, m)
            ),
        )
    return tuple(made)


def _mixed(locale: Locale, match: re.Match[str]) -> str | None:
    said = _fraction(locale, int(match[2]), int(match[3]))
    if said is None or int(match[2]) >= int(match[3]):
        return None
    return locale.joined(locale.integer(match[1]), locale.symbols.get("&", ""), said)


def _fraction(locale: Locale, above: int, below: int) -> str | None:
    return locale.fraction(above, below) if below > 1 else None


def _power(locale: Locale, match: re.Match[str]) -> str:
    base, power = match["base"], match["power"]
    said = locale.integer(base) if base.isdigit() else base
    if power in locale.powers:
        return locale.powers[power].format(said)
    exponent = _signed(
        locale, power[0] if power[0] == "-" else None, locale.integer(power.lstrip("-"))
    )
    return locale.powers["n"].format(said, exponent)


def _signed(locale: Locale, sign: str | None, said: str) -> str:
    words = {"-": locale.minus, "+": locale.plus, "±": locale.plus_minus}
    return locale.joined(words[sign], said) if sign else said


def _spaced(locale: Locale, word: str) -> str:
    return f" {word} " if locale.word_gap else word
