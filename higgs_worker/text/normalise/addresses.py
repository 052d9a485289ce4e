"""Rules for web and mail addresses, versions, phone numbers, paths and file names.

They are read as people read them aloud: punctuation by its name, so that nothing is lost. The rules
are made from a language's words.
"""

import re

from higgs_worker.text.normalise.locale import Locale
from higgs_worker.text.normalise.rule import END, LETTERS, START, Rule, rule

_WEB = r"[!#-&(-;=?-Z\\\]^_a-z|~]"  # printable ASCII less quotes and brackets
_DOMAINS = (
    "com|org|net|io|dev|ai|edu|gov|info|app|eu|uk|de|fr|es|kr|cn|jp|ch|nl|ca|au|us|tv|biz|tech|xyz"
)
_FILES = (
    "c|cc|cpp|css|csv|doc|docx|exe|flac|gif|go|h|html|ini|jar|java|jpeg|jpg|js|json|lua|md|mkv|mp3"
    "|mp4|ogg|pdf|php|png|ppt|pptx|py|rb|rs|sh|sql|svg|tar|toml|ts|tsx|txt|wav|xls|xlsx|xml|yaml|"
    "yml|zip"
)
_PARTS = re.compile(r"[0-9]+|(?:[^\W\d_]|[^\x00-\x7f])+|.", re.DOTALL)


def rules(locale: Locale) -> tuple[Rule, ...]:
    """Return the rules for addresses; none for a language without words for them."""
    if not locale.address:
        return ()
    grouped = re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+")
    is_grouped = grouped.fullmatch if "." in locale.group_marks else lambda text: None
    dot, at = locale.address["."], locale.address["@"]
    last = r"(?<![.,:;!?)\]])"

    def read(match: re.Match[str]) -> str:
        return _read(locale, match[0])

    return (
        rule(
            "web address",
            rf"(?:https?|ftp)://({_WEB}{{1,2000}}{last})",
            lambda m: _read(locale, m[1].rstrip("/")) or None,
            re.IGNORECASE,
        ),
        rule(
            "mail address",
            r"(?:mailto:)?(?<![\w.+%-])[A-Za-z0-9_.+%-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}",
            lambda m: _read(locale, m[0].removeprefix("mailto:")),
        ),
        rule(
            "domain",
            rf"(?<![\w@.-])(?:[A-Za-z0-9-]{{1,63}}\.){{1,5}}(?:{_DOMAINS}){END}(?:/(?:{_WEB}{{0,2000}}{last})?)?",
            read,
        ),
        rule("file", rf"(?<=[\w-][\w-])\.(?=(?:{_FILES}){END})", f" {dot} "),
        rule(
            "path",
            rf"(?<![\w/.~])~?(?:/[A-Za-z0-9_.-]{{1,64}}){{2,20}}/?{END}{last}",
            read,
        ),
        rule(
            "internet number",
            rf"{START}[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}}(?!\.?[0-9])",
            lambda m: _internet_number(locale, m[0]),
        ),
        rule(
            "version",
            rf"{START}[vV]?[0-9]{{1,9}}(?:\.[0-9]{{1,9}}){{2,5}}(?![0-9])",
            lambda m: None if is_grouped(m[0]) else _version(locale, m[0]),
        ),
        rule(
            "version with v",
            rf"{START}[vV]([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?)(?![0-9])",
            lambda m: _version(locale, m[0]),
        ),
        rule(
            "phone",
            r"(?<![\w+])\+[0-9][0-9 ()./-]{5,24}[0-9](?![0-9])",
            lambda m: _phone(locale, m[0]),
        ),
        rule(
            "phone in groups of three",
            rf"{START}(?:1[ .-])?(?:\([0-9]{{3}}\)[ ]?|[0-9]{{3}}[ .-])[0-9]{{3}}[ .-][0-9]{{4}}{END}",
            lambda m: _phone(locale, m[0]),
        ),
        rule(
            "area code",
            rf"{START}\(?0[0-9]{{1,5}}\)?[ /-]?[0-9]{{2,4}}(?:[ -]?[0-9]{{2,4}}){{1,4}}{END}",
            lambda m: _phone(locale, m[0]),
        ),
        rule("handle", r"(?<![\w@])@(?=[\w])", f"{at} "),
        rule("hashtag", rf"(?<![\w#])#(?=[{LETTERS}])", f"{locale.address['#']} "),
        rule("leading dot", rf"(?<![\w.])\.(?=[{LETTERS}])", f"{dot} "),
    )


def _read(locale: Locale, text: str) -> str:
    """Return an address in words; a character without a name becomes a space."""
    said = []
    for part in _PARTS.findall(text):
        if part.isdigit() and part.isascii():
            said.append(locale.code(part))
        elif part.isalnum() or not part.isascii():
            said.append(part)
        else:
            said.append(locale.address.get(part, ""))
    return " ".join(filter(None, said))


def _internet_number(locale: Locale, text: str) -> str | None:
    parts = text.split(".")
    if any(int(part) > 255 for part in parts):
        return None
    return f" {locale.address['.']} ".join(locale.spell(part) for part in parts)


def _version(locale: Locale, text: str) -> str:
    numbers = text.lstrip("vV").split(".")
    said = locale.joined(*_alternate([locale.integer(each) for each in numbers], locale.point))
    return f"{locale.address['v']} {said}" if text[0] in "vV" else said


def _alternate(words: list[str], between: str) -> list[str]:
    return [each for word in words for each in (between, word)][1:]


def _phone(locale: Locale, text: str) -> str | None:
    groups = re.findall("[0-9]+", text)
    if not 7 <= sum(map(len, groups)) <= 15:
        return None
    said = ", ".join(locale.spell(group) for group in groups)
    return locale.joined(locale.plus, said) if text[0] == "+" else said
