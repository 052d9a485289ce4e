"""Rules for French: numbers, dates, times, abbreviations and symbols."""

import re
from functools import cache

from higgs_worker.text.normalise import addresses, dates, quantities
from higgs_worker.text.normalise.abbreviations import abbreviations
from higgs_worker.text.normalise.language_rules import LanguageRules
from higgs_worker.text.normalise.locale import Locale, currencies, nouns
from higgs_worker.text.normalise.numerals import french, french_ordinal
from higgs_worker.text.normalise.roman import parse_roman
from higgs_worker.text.normalise.rule import END, START, Rule, either, listed, rule

_MONTHS = listed(
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre"
)
_MONEY = currencies(
    """
    €, EUR | un euro | euros | un centime | centimes
    $, US$, USD | un dollar | dollars | un cent | cents
    £, GBP | une livre | livres | un penny | pence
    ¥, JPY | un yen | yens
    CHF | un franc suisse | francs suisses | un centime | centimes
    ₩, KRW | un won | wons
    CNY | un yuan | yuans
    """
)
_UNITS = nouns(
    """
    km | un kilomètre | kilomètres
    m | un mètre | mètres
    cm | un centimètre | centimètres
    mm | un millimètre | millimètres
    km^2 | un kilomètre carré | kilomètres carrés
    m^2 | un mètre carré | mètres carrés
    cm^2 | un centimètre carré | centimètres carrés
    m^3 | un mètre cube | mètres cubes
    cm^3 | un centimètre cube | centimètres cubes
    ha | un hectare | hectares
    kg | un kilogramme | kilogrammes
    g | un gramme | grammes
    mg | un milligramme | milligrammes
    t | une tonne | tonnes
    l, L | un litre | litres
    cl, cL | un centilitre | centilitres
    ml, mL | un millilitre | millilitres
    km/h | un kilomètre par heure | kilomètres par heure
    m/s | un mètre par seconde | mètres par seconde
    h | une heure | heures
    min | une minute | minutes
    s | une seconde | secondes
    ms | une milliseconde | millisecondes
    °C | un degré Celsius | degrés Celsius
    °F | un degré Fahrenheit | degrés Fahrenheit
    ° | un degré | degrés
    W | un watt | watts
    kW | un kilowatt | kilowatts
    MW | un mégawatt | mégawatts
    kWh | un kilowattheure | kilowattheures
    V | un volt | volts
    Hz | un hertz | hertz
    kHz | un kilohertz | kilohertz
    MHz | un mégahertz | mégahertz
    GHz | un gigahertz | gigahertz
    dB | un décibel | décibels
    kcal | une kilocalorie | kilocalories
    Ko | un kilooctet | kilooctets
    Mo | un mégaoctet | mégaoctets
    Go | un gigaoctet | gigaoctets
    To | un téraoctet | téraoctets
    KB | un kilobyte | kilobytes
    MB | un mégabyte | mégabytes
    GB | un gigabyte | gigabytes
    """
)
_MAGNITUDES = {
    "million": "million",
    "millions": "millions",
    "milliard": "milliard",
    "milliards": "milliards",
    "billion": "billion",
    "billions": "billions",
    "M": "millions",
    "Md": "milliards",
    "Mds": "milliards",
    "k": "mille",
}
_SINGULAR_MAGNITUDES = {
    "million": "un million",
    "millions": "un million",
    "milliard": "un milliard",
    "milliards": "un milliard",
    "billion": "un billion",
    "mille": "mille",
}
_SYMBOLS = {
    "&": "et",
    "+": "plus",
    "=": "égale",
    "@": "arobase",
    "%": "pour cent",
    "§": "paragraphe",
    "°": "degrés",
    "±": "plus ou moins",
    "×": "fois",
    "÷": "divisé par",
    "≈": "environ",
    "≠": "différent de",
    "≤": "au plus",
    "≥": "au moins",
    "∞": "infini",
    "√": "racine de",
    "$": "dollars",
    "€": "euros",
    "£": "livres",
    "¥": "yens",
    "→": "à",
}
_ADDRESS = {
    ".": "point",
    "@": "arobase",
    "/": "slash",
    ":": "deux points",
    "-": "tiret",
    "_": "tiret bas",
    "#": "hashtag",
    "?": "point d'interrogation",
    "=": "égale",
    "&": "et",
    "%": "pour cent",
    "+": "plus",
    "~": "tilde",
    "v": "version",
}
_WORDS = {
    "M.": "monsieur",
    "MM.": "messieurs",
    "Mme": "madame",
    "Mmes": "mesdames",
    "Mlle": "mademoiselle",
    "Dr": "docteur",
    "Pr": "professeur",
    "Me": "maître",
    "St": "saint",
    "Ste": "sainte",
    "etc.": "et cetera",
    "p. ex.": "par exemple",
    "c.-à-d.": "c'est-à-dire",
    "env.": "environ",
    "av. J.-C.": "avant Jésus-Christ",
    "apr. J.-C.": "après Jésus-Christ",
    "bd": "boulevard",
    "tél.": "téléphone",
}
_KINGS = listed(
    "Louis Henri Charles François Napoléon Philippe Jean Benoît Léon Pie Albert Léopold"
)
_NUMBERED = listed("chapitre tome volume acte scène livre partie article annexe guerre titre")


def _date(day: int, month: int, year: int, before: str) -> str:
    return f"{_day(day)} {_MONTHS[month - 1]} {french(year)}"


def _day(day: int) -> str:
    return "premier" if day == 1 else french(day)


def _fraction(above: int, below: int) -> str:
    if below == 2:
        return "un demi" if above == 1 else f"{french(above)} demis"
    name = {3: "tiers", 4: "quart"}.get(below) or french_ordinal(below)
    plural = "s" if above > 1 and not name.endswith("s") else ""
    return f"{french(above)} {name}{plural}"


def _clock(match: re.Match[str]) -> str | None:
    hour, minute, second = int(match[1]), int(match[2] or 0), int(match["second"] or 0)
    if hour > 24 or minute > 59:
        return None
    said = f"{_feminine(hour)} heure{'s' if hour > 1 else ''}"
    if minute or second:
        said += f" {_feminine(minute)}"
    return f"{said} et {_feminine(second)} seconde{'s' if second > 1 else ''}" if second else said


def _feminine(number: int) -> str:
    said = french(number)
    return said + "e" if said.endswith("un") else said


def _ordinal(match: re.Match[str]) -> str:
    number = int(match[1])
    if number == 1:
        return "première" if match[2] in ("re", "ère") else "premier"
    said = "second" if match[2].startswith("nd") else french_ordinal(number)
    said += "e" if match[2].startswith("nde") else ""
    return said + "s" if match[2].endswith("s") else said


def _century(match: re.Match[str]) -> str | None:
    number = parse_roman(match[1])
    return None if number is None else french_ordinal(number)


def _king(match: re.Match[str]) -> str | None:
    number = parse_roman(match[2])
    if number is None:
        return None
    return f"{match[1]} {'premier' if number == 1 else french(number)}"


def _of(amount: str, noun: str) -> str:
    """Return "un million d'euros", but "mille euros"."""
    if amount.endswith("mille"):
        return f"{amount} {noun}"
    return f"{amount} d'{noun}" if noun[0] in "aeéèhiou" else f"{amount} de {noun}"


def _calendar() -> tuple[Rule, ...]:
    return (
        *dates.rules(_date),
        rule("first of a month", rf"{START}1(?:er)?[ ](?=(?:{either(_MONTHS)})\b)", "premier "),
        rule(
            "time",
            rf"{START}(?<![0-9][.,:])([0-2]?[0-9])[ ]?[h:][ ]?([0-5][0-9])"
            rf"(?::(?P<second>[0-5][0-9]))?(?![:0-9]){END}",
            _clock,
        ),
        rule("hour", rf"{START}(?<![0-9][.,])([0-2]?[0-9])[ ]?h()(?P<second>){END}(?!\.)", _clock),
        rule("ratio", rf"{START}([0-9]{{1,4}}):([0-9]{{1,4}})(?![0-9:])", r"\1 à \2"),
        rule(
            "ordinal",
            rf"{START}([0-9]{{1,4}})(er|ers|re|ère|e|es|ème|èmes|nd|nde|nds|ndes){END}",
            _ordinal,
        ),
    )


@cache
def language_rules(region: str = "FR") -> LanguageRules:
    """Return the rules for French; the region makes no difference."""
    locale = Locale(
        cardinal=french,
        digits=[french(digit) for digit in range(10)],
        group_marks=" .",
        decimal_mark=",",
        point="virgule",
        minus="moins",
        plus="plus",
        plus_minus="plus ou moins",
        to=" à ",
        percent="{} pour cent",
        money=_MONEY,
        money_parts="{} {}",
        names_parts=False,
        units=_UNITS,
        magnitudes=_MAGNITUDES,
        singular_magnitudes=_SINGULAR_MAGNITUDES,
        of_magnitude=_of,
        fraction=_fraction,
        number_word="numéro {}",
        powers={"2": "{} au carré", "3": "{} au cube", "n": "{} puissance {}"},
        operators={
            "×": "fois",
            "*": "fois",
            "÷": "divisé par",
            "/": "sur",
            "<": "inférieur à",
            ">": "supérieur à",
        },
        symbols=_SYMBOLS,
        address=_ADDRESS,
        decimals_as_number=True,
        is_plural=lambda amount: amount >= 2,
    )
    return LanguageRules(
        amounts=(
            quantities.time_ranges(locale),
            *_calendar(),
            *addresses.rules(locale),
            *quantities.rules(locale),
            *quantities.remainder(locale),
            *quantities.symbols(locale),
        ),
        words=(
            abbreviations(_WORDS, closing=("etc.",)),
            rule("century", rf"\b([IVX]{{1,6}})(?:e|ème){END}", _century),
            rule("first ruler", rf"\b({either(_KINGS)}) Ier\b", r"\1 premier"),
            rule("numbered", rf"\b((?i:{either(_NUMBERED)})) ([IVXLCM]{{1,15}})(?![\w'])", _king),
            rule("ruler", rf"\b({either(_KINGS)}) ([IVX]{{2,8}}|[VX])(?![\w'])", _king),
        ),
    )
