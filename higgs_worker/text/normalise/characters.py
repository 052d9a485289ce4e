"""Fold the characters of a text to a small set: one quote, one dash, one space, plain width.

A variant of a plain character becomes that character: full width, ligatures, `℃`, `½`. CJK
punctuation becomes ASCII, as in upstream. Invisible and unspeakable characters are removed. Letters
and their marks stay. Source: boson-ai/higgs-audio `examples/generation.py`.
"""

import re
import unicodedata

# Compatibility characters that differ only in appearance; those that scripts need are not included.
_DRESSED = re.compile(
    "[\u00b5\u0132\u0133\u013f\u0140\u017f\u01c4-\u01cc\u01f1-\u01f3"
    "\u2070-\u209c\u2100-\u218b\u2460-\u24ff\u3200-\u33ff\ufb00-\ufb06\ufb13-\ufb17"
    "\ufb50-\ufdff\ufe70-\ufefc\uff01-\uffdc\U0001d400-\U0001d7ff\U0001f100-\U0001f14f]"
)
_EXPONENTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"
_EXPONENT = re.compile(f"[{_EXPONENTS}]+")
_SPACES = re.compile("  +")
_GUILLEMETS = re.compile(r"«[^\S\n]?|[^\S\n]?»")  # French puts spaces inside
_TO_ASCII = str.maketrans(_EXPONENTS, "0123456789-")

_PLAIN = {
    **dict.fromkeys("\t\v\f", " "),
    **dict.fromkeys("\n\x85\u2028\u2029", "\n"),
    **dict.fromkeys("‘’‚‛′´ʼ＇", "'"),
    **dict.fromkeys("“”„‟″«»「」『』〝〞〟＂", '"'),
    **dict.fromkeys("‹›", "'"),
    **dict.fromkeys("—―⸺⸻", " - "),
    **dict.fromkeys("‐‑‒–−", "-"),
    **dict.fromkeys("、､،﹐", ","),
    "，": ", ",
    **dict.fromkeys("。｡．﹒۔।॥", "."),
    **dict.fromkeys("：﹕", ":"),
    **dict.fromkeys("；؛﹔", ";"),
    **dict.fromkeys("？؟﹖", "?"),
    **dict.fromkeys("！﹗", "!"),
    **dict.fromkeys("（﹙", "("),
    **dict.fromkeys("）﹚", ")"),
    **dict.fromkeys("【〔〖［", "["),
    **dict.fromkeys("】〕〗］", "]"),
    **dict.fromkeys("《〈", "<"),
    **dict.fromkeys("》〉", ">"),
    **dict.fromkeys("〜～", "~"),
    **dict.fromkeys("•‣◦▪●○■□▶►", "•"),
    **dict.fromkeys("×✕✖", "×"),
    **dict.fromkeys("⁄∕", "/"),
    "…": "...",
    "⋯": "...",
    "‥": "..",
    "·": ".",
    "・": " ",
    "‼": "!!",
    "⁇": "??",
    "⁈": "?!",
    "⁉": "!?",
    "º": "º",
    "ª": "ª",
    "™": " ",
    "№": "No. ",
}
# Symbols that are kept besides letters; `tidy` drops those that a language has no word for.
_KEPT = set("¡¿•ºª§°±×÷≈≠≤≥∞√∑←→↔⇒£€¥₩¢₹₽₺₫₪₴฿") | set(map(chr, range(0x21, 0x7F)))


def fold(text: str) -> str:
    """Return a text in the small set of characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii():
        return _SPACES.sub(" ", text.translate(_FOLDED))
    text = _EXPONENT.sub(lambda found: "^" + found[0].translate(_TO_ASCII), text)
    text = _GUILLEMETS.sub('"', unicodedata.normalize("NFC", text)).translate(_FOLDED)
    text = unicodedata.normalize("NFC", _without_stray_marks(text))
    return _SPACES.sub(" ", text)


class _FoldingTable(dict[int, str]):
    """A table of folded characters that is filled as characters occur."""

    def __missing__(self, code: int) -> str:
        self[code] = _fold_character(chr(code))
        return self[code]


_FOLDED = _FoldingTable()


def _fold_character(character: str) -> str:
    if character in _PLAIN:
        return _PLAIN[character]
    if character in _KEPT:
        return character
    category = unicodedata.category(character)
    if category in ("Cc", "Cf", "Cs", "Co", "Cn") or _is_variation(character):
        return ""
    if category == "No":
        return f" {_number(character)} "
    if (
        _DRESSED.match(character)
        and (plain := unicodedata.normalize("NFKC", character)) != character
    ):
        return "".join(map(_fold_character, plain))
    if category == "Pd":
        return "-"
    if category in ("Pi", "Pf"):
        return '"'
    return character if category[0] in "LMN" else " "


def _number(character: str) -> str:
    """Return a character such as a circled number or a fraction in digits."""
    plain = unicodedata.normalize("NFKC", character).replace("⁄", "/")
    if plain == character and (digit := unicodedata.digit(character, None)) is not None:
        return str(digit)
    return plain if plain == character else "".join(map(_fold_character, plain))


def _is_variation(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def _without_stray_marks(text: str) -> str:
    """Return a text without marks on anything but a letter, such as the frame of a keycap."""
    kept = []
    is_on_letter = False
    for character in text:
        if unicodedata.category(character)[0] != "M":
            is_on_letter = character.isalpha()
        elif not is_on_letter:
            continue
        kept.append(character)
    return "".join(kept)
