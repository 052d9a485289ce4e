"""Markdown's links by reference: `[label][id]`, `[label][]`, and definitions as `[id]: https://…`.

A number is an id wherever it stands behind a label. A word is one only if the text defines it, for
`[First name][Last name]` is no link. How they are read is up to `normalise`.
"""

import re

_DEFINITION = re.compile(
    r"(?<!\S)\[(?P<id>[^\[\]\r\n]{1,100})\]:[ \t]+<?(?:https?://|mailto:|www\.|\.{0,2}/|#)\S"
)
_LINK = re.compile(
    r"(?P<label>\[(?![0-9, ]{1,500}\])[^\[\]\r\n]{1,500}\])\[(?P<id>[^\[\]\r\n]{0,100})\]"
)
_BRACKET = re.compile(r"\[(?P<id>[^\[\]\r\n]{1,100})\]")
_NUMBER = re.compile(r"[0-9]{0,4}")


class LinkReferences:
    """The links by reference of one text."""

    def __init__(self, text: str) -> None:
        """Find what the text defines."""
        defined = _DEFINITION.finditer(text) if "]:" in text else ()
        self._ids = {_key(found["id"]) for found in defined}

    def brackets(self, text: str) -> set[int]:
        """Return where the brackets of links and definitions begin; those are no tags."""
        starts: set[int] = set()
        if "][" in text:
            for found in _LINK.finditer(text):
                if _NUMBER.fullmatch(found["id"]) or _key(found["id"]) in self._ids:
                    starts |= {found.start(), found.end("label")}
        if self._ids:
            brackets = _BRACKET.finditer(text)
            starts |= {found.start() for found in brackets if _key(found["id"]) in self._ids}
        return starts

    def without_ids(self, text: str) -> str:
        """Return a part of the text with `[label][]` for each link whose id is defined."""
        if not self._ids or "][" not in text:
            return text
        return _LINK.sub(self._without_id, text)

    def _without_id(self, found: re.Match[str]) -> str:
        return f"{found['label']}[]" if _key(found["id"]) in self._ids else found[0]


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()
