"""Build the rule that writes a language's abbreviations in full.

None of them is left, so applying it again changes nothing. A full stop that also ends the line is
kept.
"""

import re
from collections.abc import Collection, Mapping

from higgs_worker.text.normalise.rule import LETTERS, Rule, either, rule


def abbreviations(words: Mapping[str, str], closing: Collection[str] = ()) -> Rule:
    """Return the rule for abbreviations, as given or with a capital first letter.

    Args:
        words: the full form of each abbreviation.
        closing: abbreviations after which a sentence ends if a capital follows.
    """

    def say(match: re.Match[str]) -> str:
        written = match[1]
        said = words.get(written) or words[written[0].lower() + written[1:]].capitalize()
        if match["end"] is not None or (written in closing and match["capital"] is not None):
            return said + "." if written.endswith(".") else said
        return said

    forms = {form for word in words for form in (word, word[0].upper() + word[1:])}
    pattern = rf"(?<![\w.])({either(forms)})(?P<end>(?=[\"']*(?:\s*\Z|\n)))?"
    pattern += rf"(?P<capital>(?=[ ][¿¡\"']?[A-ZÀ-ÖØ-Þ]))?(?![{LETTERS}0-9])"
    return rule("abbreviation", pattern, say)
