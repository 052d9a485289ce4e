"""Simplify punctuation: single marks, no space before them, and a mark at the end.

An ellipsis makes this model lose the thread, so it becomes a comma, or a full stop where a sentence
ends. Brackets become spaces, and a full stop is added at the end, as in upstream.
Source: boson-ai/higgs-audio `examples/generation.py`, and issue 37 there.
"""

import re

from higgs_worker.text.normalise.rule import Rule, apply, rule

_ELLIPSIS = re.compile(r" ?\.(?>(?: ?\.)+) ?")
_CLOSING = "\"')]"
_TIDY: tuple[Rule, ...] = (
    rule("what is not said", r"[()\[\]{}<>|/\\^~*#_`•]", " "),
    rule("spaces", r"[ ]{2,}", " "),
    rule("line edges", r" ?\n ?", "\n"),
    rule("dashes", r"-(?>(?:[ ]?-)+)", " - "),
    rule("dash without a word", r"(?<=[ \n])-[ ]*+(?=[.,;:!?\n])|(?<=[.,;:!?])[ ]?-(?=[ \n])", ""),
    rule("marks", r" ?[.,;:!?](?>(?: ?[.,;:!?])*)", lambda found: _one_mark(found[0])),
    rule("start of a line", r"^[ .,;:!?-]++", "", re.MULTILINE),
    rule("spaces again", r"[ ]{2,}", " "),
    rule("end of a line", r"[ ]++$", "", re.MULTILINE),
    rule("blank lines", r"\n{3,}", "\n\n"),
)
# The endings that upstream accepts, in its order; the last is the placeholder of an event.
_ENDS = (".", "!", "?", ",", ";", '"', "'", "\ue000")


def without_ellipses(text: str) -> str:
    """Return a text with commas and full stops in place of ellipses."""
    return _ELLIPSIS.sub(_instead_of_ellipsis, text)


def tidy(text: str) -> str:
    """Return a text with single marks, single spaces and without unspeakable symbols."""
    return apply(_TIDY, text).strip()


def finish(text: str) -> str:
    """Return a tidy text with a mark at its end."""
    if text.endswith(_ENDS):
        return text
    return text.rstrip(" \n:-") + "."


def _instead_of_ellipsis(found: re.Match[str]) -> str:
    rest = found.string[found.end() : found.end() + 4]
    after = rest.lstrip(_CLOSING)
    if after.startswith(("?", "!")):
        return ""
    if not after or after[0] == "\n":
        return "."
    mark = "." if found[0].endswith(" ") and after[0].isupper() else ","
    return mark if rest[0] in _CLOSING and not found[0].endswith(" ") else f"{mark} "


def _one_mark(run: str) -> str:
    marks = run.replace(" ", "")
    if "?" in marks:
        return "?!" if "!" in marks else "?"
    if "!" in marks:
        return "!"
    if "." in marks:
        # An abbreviation keeps its full stop before a comma.
        return marks[:2] if marks[0] == "." and marks[1:2] in tuple(",;:") else "."
    return marks[0]
