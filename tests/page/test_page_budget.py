"""What the page is made of: small, of its own files alone, its words in one of them."""

import re
from html.parser import HTMLParser

import pytest

from higgs_worker.api.request import SpeechRequest
from higgs_worker.http.page_routes import PAGE

MAX_BYTES = 200_000
FILES = {each.name: each.read_text() for each in PAGE.iterdir()}
MODULES = {name: text for name, text in FILES.items() if name.endswith(".js")}
COMMENT = re.compile(r"/\*.*?\*/|(?<![:\"'`\\])//[^\n]*", re.DOTALL)


class Markup(HTMLParser):
    """Collects what a document refers to, its attributes and its words."""

    def __init__(self) -> None:
        super().__init__()
        self.files: set[str] = set()
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.strings: set[str] = set()
        self._within = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Collect a tag's attributes."""
        self._within = tag
        for name, value in attributes:
            self.attributes.add(name)
            if name in ("src", "href") and value and not value.startswith("#"):
                self.files.add(value)
            if name == "id" and value:
                self.ids.append(value)
            if name in ("data-text", "data-label", "data-placeholder", "data-title") and value:
                self.strings.add(value)

    def handle_data(self, text: str) -> None:
        """Collect words that are shown without a script."""
        if text.strip() and self._within not in ("noscript", "title"):
            self.texts.append(text.strip())


@pytest.fixture(scope="module")
def markup() -> Markup:
    """The page's document, read."""
    markup = Markup()
    markup.feed(FILES["index.html"])
    return markup


def code_of(module: str) -> str:
    """Return a module without its comments."""
    return COMMENT.sub("", MODULES[module])


def imports_of(module: str) -> set[str]:
    """Return the modules that a module names, imported or added as a worklet."""
    return set(re.findall(r'["\'](?:\./)?([a-z0-9_]+\.js)["\']', code_of(module)))


def test_it_is_small() -> None:
    """All of it, as it is sent, is less than a picture."""
    assert sum(each.stat().st_size for each in PAGE.iterdir()) < MAX_BYTES
    for name, text in MODULES.items():
        assert text.count("\n") <= 400, name


def test_every_file_is_used(markup: Markup) -> None:
    """From the document on, each file is reached, and nothing is asked for that is not there."""
    assert all(each.startswith("page/") for each in markup.files)
    reached = {each.removeprefix("page/") for each in markup.files}
    while new := set().union(*(imports_of(each) for each in reached & MODULES.keys())) - reached:
        reached |= new
    assert reached == FILES.keys() - {"index.html"}


def test_nothing_comes_from_elsewhere(markup: Markup) -> None:
    """Neither another host nor anything inline, which the policy would stop in any case."""
    hosts = {
        host
        for name in FILES
        for host in re.findall(r"https?://([\w.-]+)", COMMENT.sub("", FILES[name]))
    }
    # An example in the code that is shown, and the name of SVG's elements.
    assert hosts == {"api.runpod.ai", "www.w3.org"}
    assert not any(each == "style" or each.startswith("on") for each in markup.attributes)
    for name in MODULES:
        wild = r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|new Function)\b"
        assert not re.search(wild, code_of(name)), name
    assert "@import" not in FILES["style.css"]
    assert "url(" not in FILES["style.css"]


def test_all_that_it_says_is_in_one_file(markup: Markup) -> None:
    """Translators need no other file."""
    assert markup.texts == []
    # reading_texts.js has what is read aloud, calls.js code, fields.js the server's default scene.
    for name in MODULES.keys() - {"strings.js", "reading_texts.js", "calls.js", "fields.js"}:
        texts = re.findall(r'"([^"\n]*)"|\'([^\'\n]*)\'', code_of(name))
        sentences = [
            each for pair in texts for each in pair if re.search(r"[A-Z]\w+ \w+ \w+", each)
        ]
        assert not sentences, name


def test_every_element_that_a_module_names_is_there(markup: Markup) -> None:
    """And no two have the same id."""
    assert len(markup.ids) == len(set(markup.ids))
    named = {each for name in MODULES for each in re.findall(r'byId\("([\w-]+)"\)', code_of(name))}
    assert named
    assert named <= set(markup.ids)


def test_the_settings_are_the_server_s() -> None:
    """Names, bounds and defaults of `fields.js`; what is unset there is the server's default."""
    found = re.findall(r"\{\s*name: \"(\w+)\",([^}]*)\}", code_of("fields.js"))
    assert len(found) == FILES["fields.js"].count("name: ")
    for name, rest in found:
        field = SpeechRequest.model_fields[name]
        bounds = {type(each).__name__: each for each in field.metadata}
        given = dict(re.findall(r"(\w+): (\[[^\]]*\]|\"[^\"]*\"|[^,\s]+)", rest))
        if "min" in given:
            assert float(given["min"]) == bounds["Ge"].ge, name
        if "max" in given and given["max"] != "Number.MAX_SAFE_INTEGER":
            assert float(given["max"]) == bounds["Le"].le, name
        default = {"null": "None", '""': "None", "true": "True", "false": "False"}
        shown = default.get(given["default"], given["default"].strip('"'))
        if name == "strict_tags":  # the page warns instead
            assert (shown, field.default) == ("False", True)
        elif given["kind"] == '"number"' and shown != "None":
            assert float(shown) == field.default, name
        else:
            assert shown == str(field.default), name
