"""Rules for Spanish: numbers, dates, times, abbreviations and symbols."""

import re
from functools import cache

from higgs_worker.text.normalise import addresses, dates, quantities
from higgs_worker.text.normalise.abbreviations import abbreviations
from higgs_worker.text.normalise.language_rules import LanguageRules
from higgs_worker.text.normalise.locale import Locale, currencies, nouns
from higgs_worker.text.normalise.numerals import spanish, spanish_ordinal, spanish_short
from higgs_worker.text.normalise.roman import parse_roman
from higgs_worker.text.normalise.rule import END, START, Rule, either, listed, rule

_MONTHS = listed(
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"
)
_MONEY = currencies(
    """
    €, EUR | un euro | euros | un céntimo | céntimos
    $, US$, USD | un dólar | dólares | un centavo | centavos
    £, GBP | una libra | libras | un penique | peniques
    ¥, JPY | un yen | yenes
    MXN, MX$ | un peso | pesos | un centavo | centavos
    ₩, KRW | un won | wones
    CNY | un yuan | yuanes
    """
)
_UNITS = nouns(
    """
    km | un kilómetro | kilómetros
    m | un metro | metros
    cm | un centímetro | centímetros
    mm | un milímetro | milímetros
    km^2 | un kilómetro cuadrado | kilómetros cuadrados
    m^2 | un metro cuadrado | metros cuadrados
    cm^2 | un centímetro cuadrado | centímetros cuadrados
    m^3 | un metro cúbico | metros cúbicos
    cm^3 | un centímetro cúbico | centímetros cúbicos
    ha | una hectárea | hectáreas
    kg | un kilogramo | kilogramos
    g | un gramo | gramos
    mg | un miligramo | miligramos
    t | una tonelada | toneladas
    l, L | un litro | litros
    ml, mL | un mililitro | mililitros
    km/h | un kilómetro por hora | kilómetros por hora
    m/s | un metro por segundo | metros por segundo
    h | una hora | horas
    min | un minuto | minutos
    s | un segundo | segundos
    ms | un milisegundo | milisegundos
    °C, ºC | un grado Celsius | grados Celsius
    °F, ºF | un grado Fahrenheit | grados Fahrenheit
    ° | un grado | grados
    W | un vatio | vatios
    kW | un kilovatio | kilovatios
    MW | un megavatio | megavatios
    kWh | un kilovatio hora | kilovatios hora
    V | un voltio | voltios
    Hz | un hercio | hercios
    kHz | un kilohercio | kilohercios
    MHz | un megahercio | megahercios
    GHz | un gigahercio | gigahercios
    dB | un decibelio | decibelios
    kcal | una kilocaloría | kilocalorías
    KB, kB | un kilobyte | kilobytes
    MB | un megabyte | megabytes
    GB | un gigabyte | gigabytes
    TB | un terabyte | terabytes
    """
)
_MAGNITUDES = {
    "mil": "mil",
    "k": "mil",
    "millón": "millón",
    "millones": "millones",
    "M": "millones",
    "billón": "billón",
    "billones": "billones",
}
_SINGULAR_MAGNITUDES = {
    "mil": "mil",
    "millón": "un millón",
    "millones": "un millón",
    "billón": "un billón",
    "billones": "un billón",
}
_SYMBOLS = {
    "&": "y",
    "+": "más",
    "=": "igual a",
    "@": "arroba",
    "%": "por ciento",
    "§": "sección",
    "°": "grados",
    "±": "más menos",
    "×": "por",
    "÷": "entre",
    "≈": "aproximadamente",
    "≠": "distinto de",
    "≤": "como máximo",
    "≥": "como mínimo",
    "∞": "infinito",
    "√": "raíz de",
    "$": "dólares",
    "€": "euros",
    "£": "libras",
    "¥": "yenes",
    "→": "a",
}
_ADDRESS = {
    ".": "punto",
    "@": "arroba",
    "/": "barra",
    ":": "dos puntos",
    "-": "guion",
    "_": "guion bajo",
    "#": "almohadilla",
    "?": "interrogación",
    "=": "igual",
    "&": "y",
    "%": "por ciento",
    "+": "más",
    "~": "tilde",
    "v": "versión",
}
_WORDS = {
    "Sr.": "señor",
    "Sra.": "señora",
    "Srta.": "señorita",
    "Sres.": "señores",
    "Dr.": "doctor",
    "Dra.": "doctora",
    "D.": "don",
    "Dña.": "doña",
    "Ud.": "usted",
    "Uds.": "ustedes",
    "Prof.": "profesor",
    "etc.": "etcétera",
    "p. ej.": "por ejemplo",
    "p.ej.": "por ejemplo",
    "aprox.": "aproximadamente",
    "av.": "avenida",
    "Avda.": "avenida",
    "tel.": "teléfono",
    "EE. UU.": "Estados Unidos",
    "EE.UU.": "Estados Unidos",
    "a. C.": "antes de Cristo",
    "d. C.": "después de Cristo",
    "pág.": "página",
    "págs.": "páginas",
}
_RULERS = listed(
    "Felipe Carlos Alfonso Fernando Isabel Juan Pablo Enrique Benedicto Pío Luis Napoleón"
)
_NO_NOUNS = frozenset(
    [
        "de",
        "del",
        "por",
        "y",
        "a",
        "al",
        "en",
        "que",
        "o",
        "con",
        "es",
        "no",
        "se",
        "para",
        "como",
        "entre",
        "sobre",
        "hasta",
        "más",
        "menos",
    ]
)
_NUMBERED = ["siglo", "capítulo", "tomo", "volumen", "acto", "libro", "parte", "guerra", "título"]


def _date(day: int, month: int, year: int, before: str) -> str:
    return f"{_day(day)} de {_MONTHS[month - 1]} de {spanish(year)}"


def _day(day: int) -> str:
    return "primero" if day == 1 else spanish(day)


def _fraction(above: int, below: int) -> str:
    number = spanish_short(spanish(above))
    if below == 2:
        return "un medio" if above == 1 else f"{number} medios"
    if below == 3:
        name = "tercio"
    elif below <= 10:
        name = spanish_ordinal(below) or ""
    else:
        name = spanish(below).replace(" y ", "i").replace(" ", "") + "avo"
    return f"{number} {name}{'s' if above > 1 else ''}"


def _clock(match: re.Match[str]) -> str | None:
    hour, minute, second = int(match[1]), int(match[2] or 0), int(match["second"] or 0)
    if hour > 24:
        return None
    said = _feminine(hour)
    if minute:
        said += f" {spanish(minute)}"
    if not minute and not second and hour > 12:
        said += " horas"
    return f"{said} y {spanish(second)} segundos" if second else said


def _feminine(number: int) -> str:
    said = spanish(number)
    return said[:-1] + "a" if said.endswith("uno") else said


def _ordinal(match: re.Match[str]) -> str:
    number, ending = int(match[1]), match[2]
    said = spanish_ordinal(number)
    if said is None:
        return spanish(number)
    if ending in ("ª", "a"):
        return said.replace("o ", "a ")[:-1] + "a"
    return said[:-1] if ending in ("er", "er.") and number in (1, 3) else said


def _ruler(match: re.Match[str]) -> str | None:
    number = parse_roman(match[2])
    if number is None:
        return None
    said = spanish_ordinal(number) if number <= 10 else spanish(number)
    return f"{match[1]} {said}"


def _numbered(match: re.Match[str]) -> str | None:
    number = parse_roman(match[2])
    return None if number is None else f"{match[1]} {spanish(number)}"


def _of(amount: str, noun: str) -> str:
    """Return "un millón de euros", but "mil euros"."""
    return f"{amount} {noun}" if amount.endswith("mil") else f"{amount} de {noun}"


def _calendar() -> tuple[Rule, ...]:
    return (
        *dates.rules(_date),
        rule("first of a month", rf"{START}1[º°]?[ ](?=de (?:{either(_MONTHS)})\b)", "primero "),
        rule(
            "time",
            rf"{START}(?<![0-9][.,:])([0-2]?[0-9]):([0-5][0-9])(?::(?P<second>[0-5][0-9]))?"
            rf"(?![:0-9])(?:[ ]?(?:h|hs|hrs)\b\.?)?",
            _clock,
        ),
        rule("one o'clock", rf"\bla 1{END}(?![.,:]?[0-9])", "la una"),
        rule("ratio", rf"{START}([0-9]{{1,4}}):([0-9]{{1,4}})(?![0-9:])", r"\1 a \2"),
        rule(
            "ordinal",
            rf"{START}([0-9]{{1,4}})\.?(º|ª|°(?![ ]?[CF])|er\b\.?)(?![\w])",
            _ordinal,
        ),
    )


def _counted(match: re.Match[str]) -> str | None:
    number, noun = int(match[1].replace(".", "")), match[2]
    if number % 100 == 11 or noun in _NO_NOUNS:
        return None
    is_feminine = noun.endswith("as" if number > 1 else "a")
    return (_feminine(number) if is_feminine else spanish_short(spanish(number))) + " "


@cache
def language_rules(region: str = "ES") -> LanguageRules:
    """Return the rules for Spanish; the region makes no difference."""
    locale = Locale(
        cardinal=spanish,
        digits=[spanish(digit) for digit in range(10)],
        group_marks=r". ",
        decimal_mark=",",
        point="coma",
        minus="menos",
        plus="más",
        plus_minus="más menos",
        to=" a ",
        percent="{} por ciento",
        money=_MONEY,
        money_parts="{} con {}",
        units=_UNITS,
        magnitudes=_MAGNITUDES,
        singular_magnitudes=_SINGULAR_MAGNITUDES,
        of_magnitude=_of,
        fraction=_fraction,
        number_word="número {}",
        powers={"2": "{} al cuadrado", "3": "{} al cubo", "n": "{} elevado a {}"},
        operators={
            "×": "por",
            "*": "por",
            "÷": "entre",
            "/": "entre",
            "<": "menor que",
            ">": "mayor que",
        },
        symbols=_SYMBOLS,
        address=_ADDRESS,
        decimals_as_number=True,
        before_noun=spanish_short,
    )
    return LanguageRules(
        amounts=(
            quantities.time_ranges(locale),
            *_calendar(),
            *addresses.rules(locale),
            *quantities.rules(locale),
            rule(
                "one more of something",
                rf"{START}(?<![0-9][.,])([0-9]{{0,3}}\.?[0-9]{{0,2}}1)[ ](?=([a-zñáéíóú]{{2,40}}))",
                _counted,
            ),
            *quantities.remainder(locale),
            *quantities.symbols(locale),
        ),
        words=(
            abbreviations(_WORDS, closing=("etc.",)),
            rule(
                "numbered", rf"\b((?i:{either(_NUMBERED)})) ([IVXLCM]{{1,15}})(?![\w'])", _numbered
            ),
            rule("ruler", rf"\b({either(_RULERS)}) ([IVX]{{1,8}})(?![\w'])", _ruler),
        ),
    )
