"""Everybody can use the page: by keyboard, by screen reader, on a phone, in the dark, enlarged."""

import re
from typing import TYPE_CHECKING

import pytest

from tests.fakes.http_worker import HttpWorker
from tests.page.access import (
    Focus,
    announcements,
    barriers,
    note_announcements,
    too_wide,
)
from tests.page.complaints import Complaints
from tests.page.conftest import OpenPage
from tests.page.download import downloaded
from tests.page.patience import expect
from tests.page.screens import DESKTOP, PHONE, SCREENS
from tests.page.speak_tab import SpeakTab
from tests.page.voices_tab import VoicesTab

if TYPE_CHECKING:
    from playwright.sync_api import Page

DIALOGUE = "[Anna] It cost $5 on 3 March. [Bert] Did it?"
LONG_WORD = "Donaudampfschiff" * 32
TABS = ("speak", "voices", "code")


@pytest.fixture
def tab(open_page: OpenPage, scripted_server: HttpWorker) -> SpeakTab:
    """The part that speaks, of a server whose model goes by a script."""
    return SpeakTab(open_page(scripted_server.url))


def on_each_screen(page: "Page") -> list[str]:
    """Return what is wrong with a page on any screen, by axe and by its width."""
    wrong = []
    for name, screen in SCREENS.items():
        page.set_viewport_size(screen["viewport"])
        page.emulate_media(color_scheme=screen["color_scheme"])
        wrong += [f"{name}: {each}" for each in barriers(page) + too_wide(page)]
    return wrong


def show(page: "Page", tab: str) -> None:
    """Show a tab."""
    page.click(f"#tab-{tab}")
    expect(page.locator(f"#panel-{tab}")).not_to_have_attribute("hidden", "")


@pytest.mark.parametrize("name", TABS)
def test_no_barrier_on_a_tab(tab: SpeakTab, name: str) -> None:
    """As it is opened."""
    expect(tab.page.locator("#voice option", has_text="clara")).to_have_count(1)
    show(tab.page, name)
    assert on_each_screen(tab.page) == []


def test_no_barrier_where_all_is_shown(tab: SpeakTab, complaints: Complaints) -> None:
    """Speakers, a description, what is read differently, a take, warnings, history, a problem."""
    complaints.expect("ERR_FAILED")
    page = tab.page
    page.select_option("#voice", label="Describe a voice …")
    tab.say(DIALOGUE, max_duration_s="1")
    expect(page.locator("#reading")).to_be_visible()
    page.click("#reading summary")
    page.route("**/v1/audio/speech", lambda route: route.abort("failed"))
    page.click("#speak")
    for each in ("#speakers", "#description", "#reading", "#warnings", "#history", "#problem"):
        expect(page.locator(each)).to_be_visible()
    assert on_each_screen(page) == []


def test_no_barrier_in_the_dialog_of_the_key(keyed_page: "Page", complaints: Complaints) -> None:
    """Also when a key was wrong."""
    complaints.expect("status of 401")
    keyed_page.keyboard.type("another")
    keyed_page.keyboard.press("Enter")
    expect(keyed_page.locator("#key-wrong")).to_be_visible()
    assert on_each_screen(keyed_page) == []


def test_no_barrier_in_the_dialogs_of_a_voice(
    open_page: OpenPage, scripted_server: HttpWorker
) -> None:
    """To edit it, and to delete it."""
    page = open_page(f"{scripted_server.url}/#/voices")
    tab = VoicesTab(page, scripted_server)
    tab.add("anybody")
    for what in ("Edit", "Delete"):
        tab.press(what, "anybody")
        expect(page.get_by_role("dialog")).to_be_visible()
        assert on_each_screen(page) == []
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()


def test_nothing_is_too_wide(tab: SpeakTab) -> None:
    """A word of 500 letters breaks, on narrow phones, and where letters are twice as large."""
    page = tab.page
    tab.say(f"{LONG_WORD}. [Anna] Yes.")
    for width, size in (
        (320, "100%"),
        (PHONE["width"], "100%"),
        (2 * PHONE["width"], "200%"),
        (DESKTOP["width"], "200%"),
    ):
        page.set_viewport_size({"width": width, "height": 740})
        page.evaluate("(size) => { document.documentElement.style.fontSize = size; }", size)
        for each in TABS:
            show(page, each)
            assert (width, each, too_wide(page)) == (width, each, [])


def test_by_keyboard_alone(tab: SpeakTab) -> None:
    """The whole way: to the text, speak, pause, seek, save, settings, other tabs."""
    page = tab.page
    expect(page.locator("#voice option", has_text="clara")).to_have_count(1)
    focus = Focus(page)
    focus.press("Tab")
    assert (focus.name, focus.is_visible) == ("Skip to the text", True)
    focus.press("Enter")
    assert focus.name == "text"
    page.keyboard.press("Control+a")
    page.keyboard.type("It was late in the evening, and nobody was there to see it.")
    page.keyboard.press("Control+Enter")
    expect(tab.told).to_have_text(re.compile("^Done"))

    focus.go_to("play")
    tab.wait_until_heard()
    focus.press("Space")
    expect(tab.play).to_have_attribute("data-icon", "pause")
    focus.press("Space")
    expect(tab.play).to_have_attribute("data-icon", "play")
    focus.go_to("seek")
    focus.press("Home")
    focus.press("ArrowRight")
    focus.press("ArrowRight")
    expect(page.locator("#seek")).to_have_attribute("aria-valuetext", re.compile("^2.00 s of "))
    focus.press("ArrowLeft")
    expect(page.locator("#seek")).to_have_attribute("aria-valuetext", re.compile("^1.00 s of "))
    focus.go_to("download")
    name, _ = downloaded(page, lambda: focus.press("Enter"))
    assert name.endswith(".wav")
    expect(page.locator("#download")).to_be_focused()

    focus.go_to("More settings")
    focus.press("Enter")
    expect(page.locator("#field-temperature")).to_be_visible()
    focus.go_to("field-temperature")

    focus.go_to("tab-speak", key="Shift+Tab")
    for key, shown in (
        ("ArrowRight", "voices"),
        ("ArrowRight", "code"),
        ("ArrowRight", "speak"),
        ("ArrowLeft", "code"),
        ("Home", "speak"),
        ("End", "code"),
    ):
        focus.press(key)
        assert (focus.name, focus.is_visible) == (f"tab-{shown}", True)
        expect(page.locator(f"#panel-{shown}")).not_to_have_attribute("hidden", "")
    focus.press("Tab")
    focus.press("Tab")
    assert focus.name != "tab-speak"  # the tabs are one stop


def test_the_focus_is_always_seen(tab: SpeakTab) -> None:
    """Each stop of the Tab key has a ring, and is scrolled into sight."""
    page = tab.page
    tab.say(DIALOGUE)
    page.click("details.more summary")
    page.click("h1")
    focus = Focus(page)
    stops: list[str] = []
    while True:
        focus.press("Tab")
        if focus.name in stops or focus.name == "body":
            break
        stops.append(focus.name)
        assert focus.is_visible, focus.name
    expected = {"text", "voice", "speak", "play", "seek", "download", "field-seed", "reset", "tags"}
    assert expected <= set(stops)


def test_stop_by_keyboard_keeps_the_place(tab: SpeakTab) -> None:
    """Whoever presses Stop is not thrown out of the form by a button that is disabled then."""
    page = tab.page
    tab.start("Never.")
    page.locator("#stop").focus()
    page.keyboard.press("Enter")
    expect(tab.told).to_have_text("Stopped before there was a sound.")
    assert page.evaluate("() => document.activeElement !== document.body")


def test_the_dialog_keeps_the_focus(keyed_page: "Page", complaints: Complaints) -> None:
    """The Tab key stays within it, and when it is closed goes on from where it was."""
    complaints.expect("status of 401")
    page = keyed_page
    expect(page.locator("#key-dialog")).to_be_visible()
    focus = Focus(page)
    for _ in range(6):
        focus.press("Tab")
        assert focus.name in ("key", "Use this key", "body"), focus.name
        assert focus.is_visible or focus.name == "body"
    page.keyboard.press("Escape")
    page.locator("#change-key").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#key")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#change-key")).to_be_focused()


def test_a_screen_reader_is_told_little(tab: SpeakTab, scripted_server: HttpWorker) -> None:
    """Waiting, speaking, done, however many parts a speech has; and what failed."""
    page = tab.page
    expect(page.locator("#state")).to_have_text("Ready")
    note_announcements(page)
    tab.say("Slowly. " * 40)
    *before, done = announcements(page)
    assert before == ["Waiting for the first sound", "Speaking"]
    assert re.match(r"Done: .* of sound\.$", done)
    page.fill("#text", "")
    page.click("#speak")
    assert announcements(page)[3:] == ["There is no text yet. Type some, or try an example."]


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_motion(open_page: OpenPage, scripted_server: HttpWorker, motion: str) -> None:
    """Nothing moves for those who want that; for others, it shows that it waits."""
    tab = SpeakTab(open_page(scripted_server.url, reduced_motion=motion))
    tab.start("Never.")
    expect(tab.page.locator("#sound.is-waiting")).to_be_visible()
    num_moving = tab.page.evaluate("() => document.getAnimations().length")
    assert num_moving == (0 if motion == "reduce" else 1)
    tab.page.click("#stop")
    expect(tab.told).to_have_text("Stopped before there was a sound.")
