"""Whole numbers below 10^15 in words: English, German, French, Spanish, Korean and Chinese.

The well-known library, num2words, has no Chinese, fails on Korean ordinals, and is wrong in Spanish
(21000), German (101000) and French (500th). The tests compare with it where it is right.
"""

from higgs_worker.text.normalise.rule import listed

_ENGLISH = listed(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_ENGLISH_TENS = listed("_ _ twenty thirty forty fifty sixty seventy eighty ninety")
_ENGLISH_LARGE = ("", " thousand", " million", " billion", " trillion")
_ENGLISH_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}

_GERMAN = listed(
    "null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn "
    "fünfzehn sechzehn siebzehn achtzehn neunzehn"
)
_GERMAN_TENS = listed("_ _ zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")
_GERMAN_LARGE = ("Million", "Milliarde", "Billion")
_GERMAN_ORDINALS = {"eins": "erst", "drei": "dritt", "sieben": "siebt", "acht": "acht"}

_FRENCH = listed(
    "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze "
    "seize dix-sept dix-huit dix-neuf"
)
_FRENCH_TENS = listed(
    "_ _ vingt trente quarante cinquante soixante soixante quatre-vingt quatre-vingt"
)
_FRENCH_LARGE = ("million", "milliard", "billion")

_SPANISH = listed(
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince "
    "dieciséis diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés "
    "veinticuatro veinticinco veintiséis veintisiete veintiocho veintinueve"
)
_SPANISH_TENS = listed("_ _ _ treinta cuarenta cincuenta sesenta setenta ochenta noventa")
_SPANISH_HUNDREDS = listed(
    "_ ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos "
    "ochocientos novecientos"
)
_SPANISH_ORDINALS = listed(
    "primero segundo tercero cuarto quinto sexto séptimo octavo noveno décimo undécimo duodécimo"
)
_SPANISH_ORDINAL_TENS = listed(
    "_ décimo vigésimo trigésimo cuadragésimo quincuagésimo sexagésimo septuagésimo "
    "octogésimo nonagésimo"
)

KOREAN_DIGITS = tuple("영일이삼사오육칠팔구")
CHINESE_DIGITS = tuple("零一二三四五六七八九")
_NATIVE_ONES = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_NATIVE_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")


def english(number: int, link: str = "") -> str:
    """Return a number in words; `link` precedes tens and ones, as "and " in British English."""
    groups = []
    rest = number
    for large in _ENGLISH_LARGE:
        rest, group = divmod(rest, 1000)
        if group:
            groups.append(_english_group(group, link) + large)
    if number > 1000 and 0 < number % 1000 < 100:
        groups[0] = link + groups[0]
    return " ".join(reversed(groups)) or "zero"


def english_ordinal(number: int, link: str = "") -> str:
    """Return an ordinal in words: "twenty-first"."""
    words = english(number, link)
    cut = max(words.rfind(" "), words.rfind("-")) + 1
    head, last = words[:cut], words[cut:]
    if last in _ENGLISH_ORDINALS:
        return head + _ENGLISH_ORDINALS[last]
    return head + (last[:-1] + "ieth" if last.endswith("y") else last + "th")


def _english_group(number: int, link: str) -> str:
    hundreds, rest = divmod(number, 100)
    words = [f"{_ENGLISH[hundreds]} hundred"] if hundreds else []
    if rest:
        tens, ones = divmod(rest, 10)
        small = _ENGLISH[rest] if rest < 20 else _ENGLISH_TENS[tens]
        if rest > 20 and ones:
            small += f"-{_ENGLISH[ones]}"
        words.append((link if hundreds else "") + small)
    return " ".join(words)


def german(number: int) -> str:
    """Return a number in words; if it ends in 1, they end in "eins"."""
    if number == 0:
        return _GERMAN[0]
    millions, rest = divmod(number, 1_000_000)
    words: list[str] = []
    for large in _GERMAN_LARGE:
        millions, group = divmod(millions, 1000)
        if group == 1:
            words.insert(0, f"eine {large}")
        elif group:
            plural = "n" if large.endswith("e") else "en"
            words.insert(0, f"{_german_group(group)} {large}{plural}")
    thousands, ones = divmod(rest, 1000)
    small = f"{_german_group(thousands)}tausend" if thousands else ""
    small += _german_group(ones)
    if small:
        words.append(small + ("s" if small.endswith("ein") else ""))
    return " ".join(words)


def german_ordinal(number: int) -> str:
    """Return an ordinal without its ending: "dritt", to which e, er or en is added."""
    words = german(number)
    if not 0 < number % 100 < 20:
        return words + "st"
    for cardinal, ordinal in _GERMAN_ORDINALS.items():
        if words.endswith(cardinal):
            return words.removesuffix(cardinal) + ordinal
    return words + "t"


def _german_group(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    word = f"{_GERMAN[hundreds]}hundert" if hundreds else ""
    if rest < 20:
        return word + (_GERMAN[rest] if rest else "")
    tens, ones = divmod(rest, 10)
    return word + (f"{_GERMAN[ones]}und" if ones else "") + _GERMAN_TENS[tens]


def french(number: int) -> str:
    """Return a number in words."""
    if number == 0:
        return _FRENCH[0]
    millions, rest = divmod(number, 1_000_000)
    words: list[str] = []
    for large in _FRENCH_LARGE:
        millions, group = divmod(millions, 1000)
        if group:
            words.insert(0, f"{_french_group(group)} {large}{'s' if group > 1 else ''}")
    thousands, ones = divmod(rest, 1000)
    if thousands:
        # Before "mille", "cents" and "quatre-vingts" lose their s.
        words.append("mille" if thousands == 1 else f"{_french_group(thousands, end='')} mille")
    if ones:
        words.append(_french_group(ones))
    return " ".join(words)


def french_ordinal(number: int) -> str:
    """Return an ordinal in words, masculine: "premier", "deuxième"."""
    if number == 1:
        return "premier"
    words = french(number)
    if words.endswith("cinq"):
        return words + "uième"
    if words.endswith("neuf"):
        return words[:-1] + "vième"
    if words.endswith(("s", "e")) and not words.endswith(("trois", "six", "dix")):
        words = words[:-1]
    return words + "ième"


def _french_group(number: int, end: str = "s") -> str:
    hundreds, rest = divmod(number, 100)
    words: list[str] = []
    if hundreds:
        head = f"{_FRENCH[hundreds]} " if hundreds > 1 else ""
        words.append(f"{head}cent{end if hundreds > 1 and not rest else ''}")
    if rest:
        words.append(_french_small(rest, end))
    return " ".join(words)


def _french_small(number: int, end: str) -> str:
    if number < 20:
        return _FRENCH[number]
    tens, ones = divmod(number, 10)
    head = _FRENCH_TENS[tens]
    if tens in (7, 9):
        ones += 10
    if number == 80:
        return head + end
    if not ones:
        return head
    return (
        f"{head} et {_FRENCH[ones]}" if ones in (1, 11) and tens < 8 else f"{head}-{_FRENCH[ones]}"
    )


def spanish(number: int) -> str:
    """Return a number in words; if it ends in 1, they end in "uno"."""
    if number == 0:
        return _SPANISH[0]
    billions, rest = divmod(number, 10**12)
    millions, ones = divmod(rest, 10**6)
    words: list[str] = []
    for amount, one, many in (
        (billions, "un billón", "billones"),
        (millions, "un millón", "millones"),
    ):
        if amount:
            words.append(
                one if amount == 1 else f"{spanish_short(_spanish_thousands(amount))} {many}"
            )
    if ones:
        words.append(_spanish_thousands(ones))
    return " ".join(words)


def spanish_short(words: str) -> str:
    """Return the form of a number before a noun: "uno" becomes "un"."""
    if words.endswith("veintiuno"):
        return words.removesuffix("uno") + "ún"
    return words.removesuffix("o") if words.endswith("uno") else words


def spanish_ordinal(number: int) -> str | None:
    """Return an ordinal in words, masculine; None above 99, where cardinals are used."""
    if not 0 < number < 100:
        return None
    if number <= 12:
        return _SPANISH_ORDINALS[number - 1]
    tens, ones = divmod(number, 10)
    if tens == 1:
        return f"decimo{_SPANISH_ORDINALS[ones - 1]}"
    head = _SPANISH_ORDINAL_TENS[tens]
    return f"{head} {_SPANISH_ORDINALS[ones - 1]}" if ones else head


def _spanish_thousands(number: int) -> str:
    thousands, ones = divmod(number, 1000)
    words: list[str] = []
    if thousands:
        words.append("mil" if thousands == 1 else f"{spanish_short(_spanish_group(thousands))} mil")
    if ones:
        words.append(_spanish_group(ones))
    return " ".join(words)


def _spanish_group(number: int) -> str:
    if number == 100:
        return "cien"
    hundreds, rest = divmod(number, 100)
    words = [_SPANISH_HUNDREDS[hundreds]] if hundreds else []
    if 0 < rest < 30:
        words.append(_SPANISH[rest])
    elif rest:
        tens, ones = divmod(rest, 10)
        words.append(_SPANISH_TENS[tens] + (f" y {_SPANISH[ones]}" if ones else ""))
    return " ".join(words)


def korean(number: int) -> str:
    """Return a number in Sino-Korean; 1 is omitted before a unit, except before 억 and 조."""
    if number == 0:
        return KOREAN_DIGITS[0]
    words: list[str] = []
    for large in ("", "만", "억", "조"):
        number, group = divmod(number, 10_000)
        if group:
            said = "" if group == 1 and large == "만" and not number else _korean_group(group)
            words.append(said + large)
    return " ".join(reversed(words))


def _korean_group(number: int) -> str:
    said = ""
    for power, unit in ((1000, "천"), (100, "백"), (10, "십"), (1, "")):
        digit = number // power % 10
        if digit:
            said += ("" if digit == 1 and unit else KOREAN_DIGITS[digit]) + unit
    return said


def native_korean(number: int) -> str | None:
    """Return a native Korean number, as before a counter; None below 1 and above 99."""
    if not 0 < number < 100:
        return None
    tens, ones = divmod(number, 10)
    return "스무" if number == 20 else _NATIVE_TENS[tens] + _NATIVE_ONES[ones]


def chinese(number: int) -> str:
    """Return a number in Mandarin, in simplified characters."""
    if number == 0:
        return CHINESE_DIGITS[0]
    groups = []
    for large in ("", "万", "亿", "万亿"):
        number, group = divmod(number, 10_000)
        groups.append((group, large))
    said = ""
    has_gap = False
    for group, large in reversed(groups):
        if not group:
            has_gap = bool(said)
            continue
        if said and (has_gap or group < 1000):
            said += CHINESE_DIGITS[0]
        said += _chinese_group(group) + large
        has_gap = False
    return said.removeprefix("一") if said.startswith("一十") else said


def _chinese_group(number: int) -> str:
    said = ""
    has_gap = False
    for power, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = number // power % 10
        if not digit:
            has_gap = bool(said)
            continue
        said += (CHINESE_DIGITS[0] if has_gap else "") + CHINESE_DIGITS[digit] + unit
        has_gap = False
    return said
