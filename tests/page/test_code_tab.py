"""The code of the request that the form describes: in step with it, copied, without the key."""

import json
from typing import TYPE_CHECKING

import pytest

from tests.fakes.http_worker import HttpWorker
from tests.page.chromium import LAN_HOST
from tests.page.conftest import OpenPage
from tests.page.patience import expect
from tests.page.speak_tab import SpeakTab

if TYPE_CHECKING:
    from playwright.sync_api import Page

KINDS = ("curl", "Python: openai", "Python: our client", "JavaScript", "RunPod job")


@pytest.fixture
def tab(open_page: OpenPage, scripted_server: HttpWorker) -> SpeakTab:
    """The form that the code follows."""
    context = {"permissions": ["clipboard-read", "clipboard-write"]}
    return SpeakTab(open_page(scripted_server.url, **context))


def code(page: "Page") -> str:
    """Return the code that is shown."""
    return page.locator("#code").inner_text()


def test_it_follows_the_form(tab: SpeakTab, scripted_server: HttpWorker) -> None:
    """Each change of the form is in it, in each language, and defaults are not."""
    page = tab.page
    expect(page.locator("#voice option", has_text="clara")).to_have_count(1)
    tab.write("It was late.")
    tab.choose(speed="1.5", format="flac")
    page.select_option("#voice", "clara")
    page.click("#tab-code")
    for kind in KINDS:
        page.get_by_label(kind, exact=True).check()
        for each in ("It was late.", "1.5", "flac", "clara"):
            assert each in code(page), (kind, each)
        assert "temperature" not in code(page)
        assert (scripted_server.url in code(page)) == (kind in KINDS[:2] + KINDS[3:4])
    page.get_by_label("curl", exact=True).check()
    body = json.loads(code(page).partition("<<'JSON'\n")[2].strip().removesuffix("JSON"))
    page.click("#tab-speak")
    with page.expect_request("**/v1/audio/speech") as request:
        tab.say("It was late.")
    # What the page plays itself are samples, and it draws the seed.
    own = {"stream_format", "seed", "sample_rate", "strict_tags", "response_format"}
    asked = {name: each for name, each in request.value.post_data_json.items() if name not in own}
    assert body == asked | {"response_format": "flac"}


def test_it_is_copied(tab: SpeakTab) -> None:
    """By a button, that says so."""
    page = tab.page
    page.click("#tab-code")
    page.click("#copy-code")
    expect(page.locator("#code-told")).to_have_text("Copied.")
    assert page.evaluate("() => navigator.clipboard.readText()") == code(page)


def test_a_local_network(open_page: OpenPage, scripted_server: HttpWorker) -> None:
    """Without https all works but what browsers withhold there, and that is said."""
    page = open_page(scripted_server.url.replace("127.0.0.1", LAN_HOST))
    tab = SpeakTab(page)
    tab.say("It was late.")
    tab.wait_until_heard()
    page.click("#tab-code")
    page.click("#copy-code")
    expect(page.locator("#code-told")).to_contain_text("press Ctrl + C")
    assert page.evaluate("() => getSelection().toString()").strip() == code(page).strip()
