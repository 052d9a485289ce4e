"""The voices of a dialogue's speakers, while voices come, change their names, and go."""

from typing import TYPE_CHECKING

from tests.page.patience import expect
from tests.page.voices_tab import VoicesTab

if TYPE_CHECKING:
    from playwright.sync_api import Locator

DIALOGUE = "[Anna] Hello. [Bert] Good evening. [Carl] Who is there?"


def open_dialogue(tab: VoicesTab, **voices: str) -> None:
    """Write the dialogue, and choose voices for its speakers."""
    tab.page.click("#tab-speak")
    tab.page.fill("#text", DIALOGUE)
    for name, voice in voices.items():
        voice_of(tab, name).select_option(voice)
    tab.page.wait_for_function(
        "(voice) => sessionStorage.getItem('higgs-form')?.includes(voice)",
        arg=list(voices.values())[-1],
    )


def voice_of(tab: VoicesTab, name: str) -> "Locator":
    """Return the select of a speaker."""
    return tab.page.get_by_label(f"Voice of {name}", exact=True)


def sent(tab: VoicesTab) -> dict[str, str | None]:
    """Speak, and return the speakers that are sent."""
    with tab.page.expect_request("**/v1/audio/speech") as request:
        tab.page.click("#speak")
    tab.page.click("#stop")
    return dict(request.value.post_data_json["speakers"])


def test_voices_outlive_a_reload(voices_tab: VoicesTab) -> None:
    """Each speaker has the voice of before, once the list of voices is there."""
    open_dialogue(voices_tab, Anna="clara", Bert="bram")
    voices_tab.page.reload()
    voices_tab.page.click("#tab-speak")
    expect(voice_of(voices_tab, "Anna")).to_have_value("clara")
    expect(voice_of(voices_tab, "Bert")).to_have_value("bram")
    expect(voice_of(voices_tab, "Carl")).to_have_value("")
    assert sent(voices_tab) == {"Anna": "clara", "Bert": "bram", "Carl": None}


def test_a_voice_is_renamed_and_deleted(voices_tab: VoicesTab) -> None:
    """Who has a voice keeps it under its new name; one that is gone is not asked for."""
    page = voices_tab.page
    voices_tab.add("Ida")
    open_dialogue(voices_tab, Anna="Ida")
    page.click("#tab-voices")
    voices_tab.press("Edit", "Ida")
    page.fill("#edit-name", "Ada")
    page.click("#edit-save")
    expect(voices_tab.card("Ada")).to_be_visible()
    page.click("#tab-speak")
    expect(voice_of(voices_tab, "Anna")).to_have_value("Ada")
    assert sent(voices_tab)["Anna"] == "Ada"
    page.click("#tab-voices")
    voices_tab.press("Delete", "Ada")
    page.click("#remove-yes")
    expect(voices_tab.card("Ada")).to_have_count(0)
    page.click("#tab-speak")
    expect(voice_of(voices_tab, "Anna")).to_have_value("")
    assert sent(voices_tab)["Anna"] is None
