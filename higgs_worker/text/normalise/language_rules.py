"""The rules by which one language is read aloud; each language makes its own."""

from dataclasses import dataclass

from higgs_worker.text.normalise.rule import Rule


@dataclass(frozen=True, slots=True)
class LanguageRules:
    """How a language is read aloud."""

    amounts: tuple[Rule, ...]
    """What has digits or symbols; none of them is left after it."""
    words: tuple[Rule, ...] = ()
    """Abbreviations and Roman numerals, for a text that is otherwise finished."""
