"""What goes wrong is told in a sentence, loses nothing, and passes."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes.http_worker import SECRETS, HttpWorker
from tests.page.complaints import Complaints
from tests.page.conftest import OpenPage, scripted_worker
from tests.page.figures import seconds_until
from tests.page.patience import expect
from tests.page.speak_tab import SpeakTab
from tests.page.voices_tab import VoicesTab

if TYPE_CHECKING:
    from playwright.sync_api import Page

KEY = SECRETS["HIGGS_API_KEY"]
LATE = "It was late."
SLOW = f"Slowly {'now and then ' * 100}"


def port_of(worker: HttpWorker) -> str:
    """Return the port of a server."""
    return worker.address.rpartition(":")[2]


@pytest.fixture
def small(open_page: OpenPage, scripted_server: HttpWorker) -> SpeakTab:
    """Its page."""
    return SpeakTab(open_page(scripted_server.url))


def test_keys(keyed_page: "Page", complaints: Complaints) -> None:
    """It is asked for, a wrong one is told, the right one opens all; this tab alone keeps it."""
    complaints.expect("status of 401")
    page, tab = keyed_page, SpeakTab(keyed_page)
    addresses: list[str] = []
    page.context.on("request", lambda each: addresses.append(each.url))
    dialog, wrong = page.locator("#key-dialog"), page.locator("#key-wrong")
    expect(dialog).to_be_visible()
    expect(wrong).to_be_hidden()
    expect(page.get_by_label("Key", exact=True)).to_be_focused()
    page.keyboard.type("another")
    page.keyboard.press("Enter")
    expect(wrong).to_be_visible()
    expect(page.get_by_label("Key", exact=True)).to_be_focused()
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.locator("#voice option", has_text="clara")).to_have_count(1)
    tab.say(LATE)

    page.reload()
    expect(page.locator("#voice option", has_text="clara")).to_have_count(1)
    expect(dialog).to_be_hidden()
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#key-dialog")).to_be_visible()
    expect(other.locator("#key-wrong")).to_be_hidden()

    kept = page.evaluate("() => [Object.values(sessionStorage), Object.values(localStorage)]")
    assert [KEY in kept[0], kept[1], page.context.cookies()] == [True, [], []]
    assert len(addresses) > 20
    assert not any(KEY in each for each in addresses)
    assert KEY not in page.content()
    for kind in page.locator("#code-kinds input").all():
        kind.evaluate("(each) => each.click()")
        code = page.locator("#code").text_content()
        assert code
        assert KEY not in code

    # Another one can be given, and the first is forgotten then.
    page.click("#change-key")
    expect(dialog).to_be_visible()
    assert KEY not in page.evaluate("() => Object.values(sessionStorage)")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.click("#speak")
    expect(dialog).to_be_visible()


def test_a_server_that_goes_and_comes_back(
    open_page: OpenPage, complaints: Complaints, tmp_path: Path
) -> None:
    """It is told, what was typed stays, and the page works again by itself."""
    complaints.expect("ERR_CONNECTION_REFUSED|status of 503")
    with scripted_worker(tmp_path) as server:
        tab = SpeakTab(open_page(server.url))
        tab.write(LATE)
        state, banner = tab.page.locator("#state"), tab.page.locator("#state-help")
        expect(state).to_have_text("Ready")
    tab.page.click("#speak")
    expect(tab.problem).to_have_text(re.compile("cannot be reached"))
    expect(state).to_have_text("No connection")
    expect(banner).to_have_text(re.compile("does not answer"))
    tab.page.type("#text", " Was it")
    with scripted_worker(tmp_path, PORT=port_of(server)) as server:
        expect(state).to_have_text("Ready")
        expect(banner).to_be_hidden()
        expect(tab.page.locator("#text")).to_have_value(f"{LATE} Was it")
        tab.page.click("#speak")
        expect(tab.told).to_have_text(re.compile("^Done"))
        expect(tab.problem).to_be_hidden()
        tab.page.close()


def test_a_server_that_dies_while_it_speaks(
    open_page: OpenPage, complaints: Complaints, tmp_path: Path
) -> None:
    """What came stays, can be heard and saved, and it is told that it is not all."""
    complaints.expect("ERR_CONNECTION_RE|ERR_INCOMPLETE")
    with scripted_worker(tmp_path) as server:
        tab = SpeakTab(open_page(server.url, has_ear=True))
        tab.start(SLOW)
        tab.wait_for_sound()
        server.process.kill()
        tab.wait_until_over()
        expect(tab.problem).to_have_text(re.compile("broke off before its end"))
        assert tab.told.inner_text() == ""  # the alert tells it
        assert len(tab.samples()) > 0
        tab.wait_until_heard()
        tab.play.click()
        expect(tab.play).to_have_attribute("data-icon", "pause")
        expect(tab.page.locator("#history-list li")).to_have_count(1)


def test_a_model_that_fails_while_it_speaks(small: SpeakTab) -> None:
    """The server's own sentence is told, and what came stays."""
    small.start(SLOW.replace("Slowly", "Failing"))
    expect(small.problem).to_have_text(re.compile("device failed"))
    assert len(small.samples()) > 0
    expect(small.page.locator("#state")).to_have_text("Ready")
    small.say(LATE)
    expect(small.problem).to_be_hidden()


def test_refusals(small: SpeakTab, complaints: Complaints) -> None:
    """The server's words stand beside the form, and go when it is mended."""
    complaints.expect("status of 400")
    page = small.page
    strict = page.locator("#field-strict_tags")
    page.click("details.more summary")
    strict.check()
    beside = page.locator("#text-problem")
    small.start("[sihg] It was late.")
    for place in (beside, small.problem):
        expect(place).to_have_text(re.compile(r"unknown tag '\[sihg\]'"))
    small.write(LATE)
    expect(beside).to_be_hidden()
    small.say(LATE)

    small.start("Now " * 6000)
    expect(small.problem).to_have_text(re.compile("20,?000"))
    expect(page.locator("#text")).to_have_value("Now " * 6000)
    small.start(LATE, scene="A hall. " * 300)
    expect(small.problem).to_have_text(re.compile("scene .*2000"))
    page.click("#reset")
    small.say(LATE)


def test_what_the_page_itself_refuses(small: SpeakTab) -> None:
    """No text, or a number out of bounds: told at once, with the focus where it is to be mended."""
    page = small.page
    asked: list[str] = []
    page.on("request", lambda each: asked.append(each.url) if "audio/speech" in each.url else None)
    small.start(" \n ")
    expect(small.problem).to_have_text(re.compile("There is no text yet"))
    expect(page.locator("#text")).to_be_focused()
    small.start(LATE, top_k="5000")
    expect(small.problem).to_have_text(re.compile("^Top k: .*1026"))
    page.click("details.more summary")  # closed: it is opened for whoever has to mend it
    page.click("#speak")
    expect(page.locator("#field-top_k")).to_be_focused()
    assert asked == []


def test_a_busy_server(
    small: SpeakTab, open_page: OpenPage, scripted_server: HttpWorker, complaints: Complaints
) -> None:
    """It says that it has too much to do, and takes the text once there is room."""
    complaints.expect("status of 429")
    others = [SpeakTab(open_page(scripted_server.url)) for _ in range(2)]
    for each in others:
        with each.page.expect_request("**/v1/audio/speech"):
            each.start("Never.")
    expect(others[0].page.locator("#told")).to_have_text("Waiting for the first sound")
    seconds_until(scripted_server, waiting=1)
    small.start(LATE)
    expect(small.problem).to_have_text("the model is full.")
    for each in others:
        each.page.click("#stop")
        expect(each.told).to_have_text("Stopped before there was a sound.")
    seconds_until(scripted_server, waiting=0, running=0)
    small.say(LATE)


def test_a_model_that_is_being_loaded(
    open_page: OpenPage, complaints: Complaints, tmp_path: Path
) -> None:
    """It is told, and what is sent meanwhile is spoken as soon as the model is there."""
    complaints.expect("health/ready")  # which answers 503 until then
    complaints.expect("status of 503")
    os.mkfifo(tmp_path / "pipe")
    loading = scripted_worker(tmp_path, MODEL_PIPE=str(tmp_path / "pipe"))
    with loading.answering() as server:
        tab = SpeakTab(open_page(server.url))
        expect(tab.page.locator("#state")).to_have_text("Loading the model")
        expect(tab.page.locator("#state-help")).to_have_text(re.compile("is being loaded"))
        tab.start(LATE)
        expect(tab.told).to_have_text("Waiting for the first sound")
        (tmp_path / "pipe").write_bytes(b"now")
        expect(tab.told).to_have_text(re.compile("^Done"))
        expect(tab.page.locator("#state")).to_have_text("Ready")
        expect(tab.page.locator("#state-help")).to_be_hidden()
        tab.page.close()


HOSTILE = {
    "an image": '<img src=x onerror="window.wasHit = 1"> It was late.',
    "a script's end": "</script><script>window.wasHit = 1</script> It was late.",
    "a template": "${window.wasHit = 1} {{constructor.constructor('wasHit = 1')()}} It was late.",
    "right to left": "\u202eIt was late.\u202c \u05e9\u05dc\u05d5\u05dd.",
    "marks upon marks": "Z" + "\u0351\u034a\u0321" * 200 + " was late.",
    "emoji": "It was late 👩‍👩‍👧‍👦🏳️‍🌈.",
    "__proto__": "[__proto__] It was late. [constructor] Yes.",
}


def type_raw(page: "Page", text: str) -> None:
    """Put a text in that no keyboard can write."""
    page.evaluate(
        """(codes) => {
            const place = document.getElementById("text");
            place.value = String.fromCharCode(...codes);
            place.dispatchEvent(new Event("input"));
        }""",
        [
            int.from_bytes(text.encode("utf-16-le", "surrogatepass")[i : i + 2], "little")
            for i in range(0, 2 * len(text), 2)
        ],
    )


def test_hostile_texts_are_texts(small: SpeakTab) -> None:
    """They are shown as they are, everywhere, and do nothing."""
    page = small.page
    for name, text in HOSTILE.items():
        small.say(text)
        assert len(small.sentences) > 0, name
        shown = page.locator("#history-list .name").first
        expect(shown).to_have_text(text if len(text) < 60 else re.compile(re.escape(text[:50])))
        for kind in page.locator("#code-kinds input").all():
            kind.evaluate("(each) => each.click()")
            assert page.locator("#code *").count() == 1, name
        assert page.locator("img, iframe, main script, object").count() == 0, name
    assert page.evaluate("() => window.wasHit") is None


@pytest.mark.parametrize(
    ("text", "is_refused"),
    [
        ("half a pair \ud83d here", True),
        ("nothing \x00 here", True),
        ("\ufffe It was late.", False),
        ("x" * 20_000, False),
    ],
    ids=["a lone surrogate", "a zero", "no character", "one word"],
)
def test_texts_that_are_none(
    small: SpeakTab, complaints: Complaints, text: str, is_refused: bool
) -> None:
    """Each is spoken or refused in a sentence, and the page goes on."""
    if is_refused:
        complaints.expect("status of 400")
    page = small.page
    type_raw(page, text)
    small.choose(max_duration_s="1")
    page.click("#speak")
    small.wait_until_over()
    expect(small.problem).to_be_visible(visible=is_refused)
    expect(small.told).to_have_text("" if is_refused else re.compile("^Done"))
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    small.say(LATE)


def test_hostile_voices_are_shown_as_texts(small: SpeakTab, scripted_server: HttpWorker) -> None:
    """Whoever saves a voice has no say in the pages of others."""
    page = small.page
    library = VoicesTab(page, scripted_server).library
    image = HOSTILE["an image"]
    library.add("eve", library.get("clara").wav, image, description=image, licence=image)
    page.reload()
    page.click("#tab-voices")
    expect(page.get_by_role("listitem", name="eve", exact=True)).to_contain_text(image)
    assert page.locator("img").count() == 0
    assert page.evaluate("() => window.wasHit") is None
