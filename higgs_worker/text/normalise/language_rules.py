"""The rules by which one language is read aloud."""

from dataclasses import dataclass

from higgs_worker.text.normalise.rule import Rule


@dataclass(frozen=True, slots=True)
class LanguageRules:
    """The rules of a language, in the order in which they apply."""

    amounts: tuple[Rule, ...]
    """For digits and symbols; none of them is left afterwards."""
    words: tuple[Rule, ...] = ()
    """For abbreviations and Roman numerals; they apply last."""
