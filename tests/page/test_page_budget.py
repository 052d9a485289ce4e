"""What the page consists of: little, all of it used, and nothing from elsewhere."""

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from higgs_worker.api.request import SpeechRequest
from higgs_worker.http.page_routes import PAGE
from tests.fakes.http_worker import HttpWorker
from tests.page.conftest import OpenPage
from tests.page.patience import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

MAX_BYTES = 200_000
MAX_LINES = 400
FILES = {each.name: each.read_text(encoding="utf-8") for each in sorted(PAGE.iterdir())}
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}
HTML = FILES["index.html"]
LATER = {"recorder_worklet.js"}
"""Loaded when it is used, not with the page."""
OF_THE_SERVER = {"health/ready", "v1/audio/voices", "v1/models", "v1/speech"}
"""Asked once the page is there: how it is, its voices, its model, how the text would be read."""
CODE = {"calls.js", "literal.js"}
"""What they write is code, in which people may read English."""
SENTENCE = r"[A-Z][a-z]+ [a-z]+|[a-z]{2,} [a-z]{2,}.*[.!?…]$"
PATHS_OF_STRINGS = """async () => {
    const { strings } = await import("/page/strings.js");
    const paths = (value, path) =>
        typeof value !== "object" || Array.isArray(value)
            ? [path.join(".")]
            : Object.entries(value).flatMap(([name, each]) => paths(each, [...path, name]));
    return paths(strings, []);
}"""


def without_comments(script: str) -> str:
    """Return a script without what is said in it to its readers."""
    return re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", script, flags=re.DOTALL)


def test_it_is_small() -> None:
    """In bytes as they are, all files together; and no script is too long to be read."""
    assert sum(len(each.encode()) for each in FILES.values()) < MAX_BYTES
    long = {name for name, text in SCRIPTS.items() if text.count("\n") >= MAX_LINES}
    assert long == set()


def test_each_file_is_reached() -> None:
    """From the document on, none is left over, and none is named that is missing."""
    reached = set(re.findall(r'(?:href|src)="page/([^"]+)"', HTML))
    new = reached
    while new:
        text = "\n".join(without_comments(SCRIPTS.get(each, "")) for each in new)
        named = re.findall(r'(?:from|import\() ?"\./([^"]+)"|new URL\("(\w[^"]+)"', text)
        new = {one or two for one, two in named} - reached
        reached |= new
    assert reached == FILES.keys() - {"index.html"}


def test_each_element_that_a_script_names_is_there() -> None:
    """And no two have the same id."""
    ids = re.findall(r'\sid="([^"]+)"', HTML)
    assert len(ids) == len(set(ids))
    text = "\n".join(SCRIPTS.values())
    named = re.findall(r'byId\("([^"]+)"\)', text)
    named += re.findall(r'\s(?:for|aria-labelledby|aria-controls|list)="([^"]+)"', HTML)
    assert set(named) - set(ids) == set()


def test_nothing_comes_from_elsewhere() -> None:
    """All addresses are relative, so it also works behind a proxy that puts a path before it."""
    assert re.findall(r'(?:href|src|action)="(?!page/|#)[^"]*"', HTML) == []
    assert re.findall(r"url\(|@import", FILES["style.css"]) == []
    for name, script in SCRIPTS.items():
        text = without_comments(script)
        assert re.findall(r'fetch\(\s*["`](?:/|\w+:)', text) == [], name
        assert name in CODE or re.findall(r"""["'`]\w+://[^"'`]""", text) == [], name


def test_no_text_becomes_markup_or_code() -> None:
    """Neither inline scripts and styles, which the policy stops, nor ways to make some."""
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)", HTML) == []
    forbidden = (
        r"\b(?:inner|outer)HTML|insertAdjacentHTML|document\.write|createContextualFragment"
        r"|\beval\b|new Function|setAttribute\(.on|cssText|\.on\w+ = [\"'`]|[\"'`]javascript:"
    )
    for name, script in SCRIPTS.items():
        found = re.findall(forbidden, without_comments(script))
        assert (name, found) == (name, [])


def test_what_people_read_is_in_one_file() -> None:
    """No sentence stands in the markup, but for browsers without scripts, or in another module."""
    body = HTML[HTML.index("<body>") :]
    body = re.sub(r"<noscript>.*?</noscript>", "", body, flags=re.DOTALL)
    assert re.findall(r">[^<>]*[A-Za-z][^<>]*<", body) == []
    assert re.findall(r'\s(?:aria-label|alt|placeholder|title)="[^"]*[A-Za-z]', body) == []
    default_scene = SpeechRequest.model_fields["scene"].default
    for name, script in SCRIPTS.items():
        if name in CODE | {"strings.js"}:
            continue
        lines = without_comments(script).split("\n")
        # What a mistake in this page throws is for its authors.
        told = "\n".join(each for each in lines if not re.search(r"Error\(|super\(", each))
        found = re.findall(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`', told)
        texts = {one or two for one, two in found} - {default_scene}
        assert (name, [each for each in texts if re.search(SENTENCE, each)]) == (name, [])


def test_each_string_is_used(blank_page: "Page") -> None:
    """None is left over, and none that is asked for is missing."""
    paths: list[str] = blank_page.evaluate(PATHS_OF_STRINGS)
    text = without_comments("\n".join(each for each in SCRIPTS.values()))
    assert [each for each in paths if not is_used(each, text)] == []
    asked = set(re.findall(r"\bstrings\.((?:\w+\.)*\w+)", text)) - {"js"}
    asked |= set(re.findall(r'data-(?:text|label|placeholder|title)="([^"]+)"', HTML))
    known = {each[: match.end()] for each in paths for match in re.finditer(r"\w+", each)}
    assert {each for each in asked if each.removesuffix(".map") not in known} == set()


def is_used(path: str, scripts: str) -> bool:
    """Tell whether a string is asked for: by its path, or as one of a group."""
    if f'="{path}"' in HTML or re.search(rf"\bstrings\.{re.escape(path)}\b", scripts):
        return True
    names = path.split(".")
    for num in range(1, len(names)):
        group = rf"strings\.{re.escape('.'.join(names[:num]))}"
        taken = " ".join(re.findall(rf"\{{([^{{}}]*)\}} = {group};", scripts))
        if names[num] in re.findall(r"\w+", taken) or re.search(rf"{group}\[|\({group}\)", scripts):
            return True
    return False


def fields_of_the_page() -> dict[str, dict[str, Any]]:
    """Return the settings that the page has, by name."""
    listed = re.search(r"FIELDS = (\[.*?\n\]);", without_comments(SCRIPTS["fields.js"]), re.DOTALL)
    assert listed
    text = re.sub(r"(\w+): ", r'"\1": ', listed[1])
    text = re.sub(r",(\s*[\]}])", r"\1", text).replace("Number.MAX_SAFE_INTEGER", str(2**53 - 1))
    return {each.pop("name"): each for each in json.loads(text)}


def test_its_settings_are_the_servers() -> None:
    """Each has the server's name, kind, bounds, choices and default."""
    told = SpeechRequest.model_json_schema()["properties"]
    kinds = {"string": "text", "number": "number", "integer": "whole", "boolean": "switch"}
    for name, field in fields_of_the_page().items():
        options = told[name].get("anyOf", [told[name]])
        (bounds,) = (each for each in options if each["type"] != "null")
        is_choice = "enum" in bounds or name == "language"
        assert field["kind"] == ("choice" if is_choice else kinds[bounds["type"]]), name
        if "enum" in bounds:
            assert field["choices"] == bounds["enum"], name
        if field["kind"] in ("number", "whole"):
            highest = min(bounds["maximum"], 2**53 - 1)  # JavaScript has no larger whole numbers
            assert (field["min"], field["max"]) == (bounds["minimum"], highest), name
        default = told[name].get("default")
        expected = {"language": "", "strict_tags": False}.get(name, default)
        assert field["default"] == expected, name


def test_it_has_all_settings() -> None:
    """A new field of requests is either on the page, or left out here on purpose."""
    elsewhere = {"text", "voice", "speakers"}
    # How the page itself asks; what is delivered to a bucket; what only engineers would tune.
    left_out = {"sample_rate", "timestamps", "output", "key", "ras_window", "ras_max_repeats"}
    on_page = fields_of_the_page().keys()
    assert on_page | elsewhere | left_out == SpeechRequest.model_fields.keys()
    assert on_page.isdisjoint(elsewhere | left_out)


@pytest.mark.parametrize("is_again", [False, True], ids=["first", "again"])
def test_what_a_browser_loads(
    open_page: OpenPage, scripted_server: HttpWorker, is_again: bool
) -> None:
    """Each file once, a few questions to the server; next time nothing that is there already."""
    page = open_page(scripted_server.url)
    expect(page.locator("#voice option", has_text="clara")).to_have_count(1)
    if is_again:
        page.reload()
        expect(page.locator("#voice option", has_text="clara")).to_have_count(1)
    page.wait_for_load_state("networkidle")
    entries = page.evaluate(
        """() => performance.getEntriesByType("resource").map((each) => each.toJSON())"""
    )
    paths = [urlsplit(each["name"]).path.removeprefix("/") for each in entries]
    files = [each for each in paths if each.startswith("page/")]
    expected = {f"page/{each}" for each in FILES.keys() - LATER - {"index.html"}}
    assert sorted(files) == sorted(expected)
    assert set(paths) - expected == OF_THE_SERVER
    assert len(paths) < len(expected) + 2 * len(OF_THE_SERVER)
    sent = sum(each["transferSize"] for each in entries if "/page/" in each["name"])
    assert sent < (0.25 if is_again else 1.25) * MAX_BYTES
