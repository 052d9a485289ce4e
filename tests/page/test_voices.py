"""The list of voices on the page: heard, changed, deleted, and found among many."""

import numpy as np

from tests.fakes.http_worker import decoded
from tests.page.ear import take_heard, trimmed
from tests.page.patience import expect
from tests.page.voices_tab import VoicesTab


def test_a_voice_is_changed(voices_tab: VoicesTab) -> None:
    """Name, transcript and notes; a form that speaks with it follows its name."""
    tab, page = voices_tab, voices_tab.page
    tab.add("before")
    tab.press("Use", "before")
    page.click("#tab-voices")
    tab.press("Edit", "before")
    dialog = page.get_by_role("dialog", name="Edit before")
    dialog.get_by_label("Name").fill("edda")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("edda is a built-in voice")
    dialog.get_by_label("Name").fill("after")
    dialog.get_by_label("Transcript").fill("The morning train was late again.")
    dialog.get_by_label("Description").fill("Calm.")
    dialog.get_by_label("Whose voice").fill("")
    dialog.get_by_role("button", name="Save").click()
    expect(page.locator("#voices-told")).to_have_text("after is saved.")
    expect(tab.card("after")).to_be_focused()
    expect(tab.card("after")).to_contain_text("The morning train was late again.")
    voice = tab.saved("after")
    assert (voice.text, voice.description) == ("The morning train was late again.", "Calm.")
    assert voice.licence is None
    page.click("#tab-speak")
    expect(page.locator("#voice")).to_have_value("after")


def test_a_voice_is_deleted_when_one_says_so(voices_tab: VoicesTab) -> None:
    """By keyboard alone; the focus goes on to the next voice, and the picker forgets it."""
    tab, page = voices_tab, voices_tab.page
    (tab.directory / "odd.zip").write_bytes(b"no zip")
    tab.add("bye")
    expect(tab.card("odd")).to_contain_text("the file of the voice 'odd' is damaged")
    expect(tab.card("odd").get_by_role("button")).to_have_text(["Delete"])
    expect(tab.card("bram").get_by_role("button", name="Delete bram")).to_have_count(0)
    for name, following in (("bye", "clara"), ("odd", "pippa")):
        delete = tab.card(name).get_by_role("button", name=f"Delete {name}")
        delete.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog", name=f"Delete {name}?")).to_be_visible()
        page.keyboard.press("Escape")
        expect(delete).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#voices-told")).to_have_text(f"{name} is deleted.")
        expect(tab.card(name)).to_have_count(0)
        expect(tab.card(following)).to_be_focused()
    assert not {"bye", "odd"} & {each.name for each in tab.library.list()}
    expect(page.locator("#voice option[value=bye]")).to_have_count(0)


def test_recordings_are_heard_one_at_a_time(voices_tab: VoicesTab) -> None:
    """A voice plays until it is stopped or another one, here or in the form, is played."""
    tab, page = voices_tab, voices_tab.page
    clara, edda = (tab.card(each).get_by_role("button").first for each in ("clara", "edda"))
    expect(clara).to_have_accessible_name("Hear a sample of clara")
    clara.click()
    expect(clara).to_have_accessible_name("Stop the sample")
    page.wait_for_function("() => firstSoundMs() !== null")
    page.wait_for_timeout(500)  # some of it
    edda.click()
    expect(clara).to_have_accessible_name("Hear a sample of clara")
    expect(edda).to_have_accessible_name("Stop the sample")
    edda.click()
    expect(edda).to_have_accessible_name("Hear a sample of edda")
    heard = take_heard(page)[:4800]
    recorded = trimmed(decoded(tab.library.get("clara").wav))[:4800]
    assert len(heard) == len(recorded)
    assert np.abs(heard.astype(int) - recorded).max() <= 1


def test_many_voices_are_filtered(voices_tab: VoicesTab) -> None:
    """With more than twelve, a field finds them by what is written about them."""
    tab, page = voices_tab, voices_tab.page
    expect(page.locator("#voices-filter")).to_be_hidden()
    tab.add(*(f"many-{number}" for number in range(10)))
    page.fill("#voices-filter", "I am MANY-7")
    expect(page.locator("#voices-found")).to_have_text("1 of 14 voices")
    expect(page.get_by_role("list", name="Voices").get_by_role("listitem")).to_have_count(1)
    expect(tab.card("many-7")).to_be_visible()
