"""Normalise a text for speech: numbers, symbols and abbreviations in words, few plain characters.

Rules are applied in a fixed order: markup, numbers and symbols, punctuation, abbreviations. Applied
to its own result, `normalise` changes nothing. Letters and digits are kept or read, except in
markup, in the address behind a link's label, and in invisible parts. Events such as
`<SE>[Laughter]</SE>` and the ends of lines and paragraphs stay.
"""

import re
import unicodedata

from higgs_worker.text.normalise.characters import fold
from higgs_worker.text.normalise.language_rules import LanguageRules
from higgs_worker.text.normalise.languages import chinese, english, french, german, korean, spanish
from higgs_worker.text.normalise.markdown import plain, unescape
from higgs_worker.text.normalise.punctuation import finish, tidy, without_ellipses
from higgs_worker.text.normalise.rule import apply

_EVENT = re.compile(r"<SE(_[se]|)>\[[A-Z][A-Za-z]{0,30}(?: [A-Za-z]{1,30}){0,3}\]</SE\1>")
_PLACE = "\ue000"  # placeholder of an event; folding removes all other private characters
_MAX_ROUNDS = 8
"""Rounds end when one changes nothing, nearly always the second: a rule's result may match another
rule."""
_LANGUAGE_RULES = {
    "de": german.language_rules,
    "en": english.language_rules,
    "es": spanish.language_rules,
    "fr": french.language_rules,
    "ko": korean.language_rules,
    "zh": chinese.language_rules,
}
_NO_RULES = LanguageRules(amounts=())


def normalise(text: str, language: str) -> str:
    """Return a text as it is spoken; "" if there is nothing to speak.

    Args:
        text: any text.
        language: BCP-47 tag; an unsupported language gets only the rules for markup and punctuation.
    """
    rules = _rules_of(language)
    text = text.strip()
    for _ in range(_MAX_ROUNDS):
        said = _round(text, rules)
        if said == text:
            break
        text = said
    return text


def _round(text: str, rules: LanguageRules) -> str:
    text = fold(unescape(text))
    events = [found[0] for found in _EVENT.finditer(text)]
    text = plain(_EVENT.sub(_PLACE, text))
    if rules.amounts:
        text = _DIGIT.sub(lambda found: str(unicodedata.decimal(found[0])), text)
    if _AMOUNT.search(text):
        text = apply(rules.amounts, text)
    text = tidy(without_ellipses(text))
    if not any(character.isalnum() or character == _PLACE for character in text):
        return ""
    said = apply(rules.words, finish(text))
    text = said if said == text else tidy(said)
    remaining = iter(events)
    return re.sub(_PLACE, lambda _: next(remaining), unicodedata.normalize("NFC", text))


# Most sentences have nothing that the rules for digits and symbols could match.
_AMOUNT = re.compile(r"[0-9_]|\.\w|[^\w\s.,:;!?'\"()¿¡\ue000-]")
_DIGIT = re.compile(r"(?![0-9])\d")


def _rules_of(language: str) -> LanguageRules:
    primary, *rest = language.replace("_", "-").split("-")
    region = next((part.upper() for part in rest if len(part) == 2), "")
    make = _LANGUAGE_RULES.get(primary.lower())
    return make(region) if make else _NO_RULES
