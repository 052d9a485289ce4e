"""Remove Markdown and HTML: emphasis, headings, lists, links, footnotes, tables, tags.

A heading, a list item and a table row become sentences, because without their marks nothing else
separates them from the next line. The address behind a link's label is dropped, wherever it is
defined, and so are the marks of footnotes and check boxes. Symbols that are not markup stay: [12]
may be a year and is read.
"""

import html
import re

from higgs_worker.text.normalise.rule import Rule, apply, rule

_TAGS = (
    "a|abbr|audio|b|blockquote|body|break|center|cite|code|dd|del|div|dl|dt|em|emphasis|font|h[1-6]"
    "|head|hr|html|i|img|ins|kbd|li|mark|ol|p|phoneme|pre|prosody|q|s|say-as|small|span|speak|"
    "strike|strong|sub|sup|table|tbody|td|tfoot|th|thead|tr|u|ul|video|voice"
)
_BLOCKS = re.compile(r"</?(?:br|p|div|h[1-6]|li|tr|hr|ul|ol|table|blockquote|break)\b", re.I)
_MARKUP = re.compile(r"[<>\[|#*_=~`•]|'''|^[ ]*-", re.MULTILINE)
"""No rule matches a text without one of these."""
_ENDED = re.compile(r"[.!?,;:\"'\ue000]\Z")


def plain(text: str) -> str:
    """Return a text without markup."""
    return apply(_RULES, text) if _MARKUP.search(text) else text


def unescape(text: str) -> str:
    """Return a text with HTML entities replaced; an escaped < or > becomes a space."""
    return _ENTITY.sub(lambda found: html.unescape(found[0]).translate(_BRACKETS), text)


_BRACKETS = str.maketrans("<>", "  ")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")


def _sentence(found: re.Match[str]) -> str:
    line = found[1].rstrip()
    return line + "." if line and not _ENDED.search(line) else line


def _row(found: re.Match[str]) -> str:
    cells = [cell.strip() for cell in found[1].split("|")]
    line = ", ".join(cell for cell in cells if cell.strip(":- "))
    return line + "." if line and not _ENDED.search(line) else line


_RULES: tuple[Rule, ...] = (
    rule("comment", r"<!--[^<>]{0,1000}-->", " "),
    rule(
        "tag",
        rf"</?(?:br|{_TAGS})(?:\s[^<>\n]{{0,500}})?/?>",
        lambda found: "\n" if _BLOCKS.match(found[0]) else "",
        re.IGNORECASE,
    ),
    rule("fence", r"^[ ]{0,3}(?:```|~~~|''')[\w+-]{0,20}[ ]*+$", "", re.MULTILINE),
    rule("link", r"!?\[([^\[\]\n]{1,500})\]\([^()\s]{1,2000}(?:[ ]\"[^\"\n]{0,300}\")?\)", r"\1"),
    # Behind a label a number is an id; words may be text. See `text.link_references`.
    rule("reference", r"!?\[((?![0-9, ]{1,500}\])[^\[\]\n]{1,500})\]\[[0-9]{0,4}\]", r"\1"),
    rule(
        "definition",
        r"(?<!\S)\[[^\[\]\n]{1,100}\]:[ \t]+<?(?:https?://|mailto:|www\.|\.{0,2}/|#)"
        r"[^\s\ue000]{1,2000}(?:[ ]\"[^\"\n\ue000]{0,300}\")?",
        "",
    ),
    rule("footnote", r"\[\^[\w-]{1,50}\]:?", ""),
    rule("address", r"<((?:https?://|mailto:)[^<>\s]{1,2000})>", r"\1"),
    rule("rule", r"^[ ]{0,3}(?>(?:[-*_=][ ]?){3,})$", "", re.MULTILINE),
    rule("table", r"^[ ]*+(\|[^\n]*+)$", _row, re.MULTILINE),
    rule(
        "heading or item",
        r"^[ ]*+(?>(?:(?:#{1,6}|[-*•>])[ ]++)+)(?:\[[ xX]\][ ]++)?([^\n]*+)$",
        _sentence,
        re.MULTILINE,
    ),
    rule("strong", r"(?<![0-9])(?:\*\*|__|~~)(?=\S)|(?<=\S)(?:\*\*|__|~~)(?![0-9])", ""),
    rule("emphasis", r"(?<![\w*])[*_](?=[^\s*_])|(?<=[^\s*_])[*_](?![\w*])", ""),
)
