"""A new voice on the page, from a file, a microphone or a description: what it makes can speak."""

import io
import re
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes.http_worker import HttpWorker
from tests.page.chromium import LAN_HOST
from tests.page.complaints import Complaints
from tests.page.conftest import OpenPage
from tests.page.patience import expect
from tests.page.voices_tab import LICENCE, SAID, VoicesTab

if TYPE_CHECKING:
    from playwright.sync_api import Page


def wav_file(pcm: bytes) -> bytes:
    """Return 16-bit samples at 24 kHz as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 2, 24_000, 0, "NONE", ""))
        wav.writeframes(pcm)
    return file.getvalue()


def choose(page: "Page", name: str, content: bytes) -> None:
    """Choose a file to be uploaded."""
    page.set_input_files("#upload-file", {"name": name, "mimeType": "", "buffer": content})


@pytest.mark.slow
def test_a_file_becomes_a_voice(voices_tab: VoicesTab, microphone: Path) -> None:
    """It is shown before it is sent, saved with everything that was written, and speaks."""
    tab, page = voices_tab, voices_tab.page
    tab.start_new("upload")
    page.set_input_files("#upload-file", microphone)
    expect(page.locator("#recording-length")).to_have_text("6.53 s")
    expect(page.locator("#recording-notes")).to_contain_text("10 to 20 seconds are best")
    page.fill("#upload-text", SAID)
    page.fill("#new-voice-description", "Calm.")
    page.fill("#new-voice-licence", LICENCE)
    tab.save_as("filed")
    tab.check_saved("filed")
    voice = tab.saved("filed")
    assert (voice.text, voice.description, voice.licence) == (SAID, "Calm.", LICENCE)
    assert page.input_value("#upload-text") == ""
    tab.check_speaks("filed")


def test_a_file_may_be_dropped(voices_tab: VoicesTab) -> None:
    """Anywhere on the tab: it is taken, and the page stays."""
    tab, page = voices_tab, voices_tab.page
    tab.start_new("record")
    data = page.evaluate_handle(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["no sound"], "talk.txt"));
            return data;
        }"""
    )
    for kind in ("dragover", "drop"):
        page.dispatch_event("#voices-list", kind, {"dataTransfer": data})
    expect(page.locator("#way-upload")).to_be_checked()
    expect(page.locator("#recording-notes")).to_have_text(re.compile("cannot play the file"))
    assert page.evaluate("document.querySelector('#upload-file').files[0].name") == "talk.txt"


@pytest.mark.slow
def test_what_is_recorded_becomes_a_voice(voices_tab: VoicesTab) -> None:
    """Three seconds are enough, with a note; the text that was read, or what one makes of it, is
    the transcript."""
    tab, page = voices_tab, voices_tab.page
    tab.start_new("record")
    page.select_option("#record-texts", label="Deutsch")
    expect(page.locator("#record-text")).to_have_value(re.compile("^Wenn der erste Zug"))
    page.click("#record")
    expect(page.locator("#record-told")).to_have_text("Recording. 10 to 20 seconds are best.")
    expect(page.locator("#record-time")).to_have_text("0:03")
    level = page.locator("#record-level")
    assert -50 < float(level.evaluate("(meter) => meter.value")) <= 0
    page.click("#record")
    expect(page.locator("#recording-sound")).to_be_visible()
    expect(page.locator("#record-texts")).to_be_hidden()
    page.fill("#record-text", "The morning train was late again.")
    tab.save_as("recorded")
    tab.check_saved("recorded")
    voice = tab.saved("recorded")
    assert voice.text == "The morning train was late again."
    assert 1.5 < voice.duration_s < 5
    tab.check_speaks("recorded")


@pytest.mark.slow
def test_a_description_becomes_a_voice(voices_tab: VoicesTab) -> None:
    """A sample is spoken, and another; the last is saved, with its words and the description."""
    tab, page = voices_tab, voices_tab.page
    tab.start_new("describe")
    page.fill("#describe-words", "A bright, quick voice.")
    page.fill("#describe-text", "I will be there at noon, and not a minute later.")
    seeds = []
    for button in ("Speak a sample", "Speak another sample"):
        expect(page.locator("#speak-sample")).to_have_text(button)
        with page.expect_request("**/v1/audio/speech") as request:
            page.click("#speak-sample")
        expect(page.locator("#describe-told")).to_have_text(re.compile("^Spoken"))
        seeds.append(request.value.post_data_json["seed"])
    assert len(set(seeds)) == 2
    page.fill("#describe-text", "Other words.")
    tab.save_as("described")
    expect(page.locator("#new-voice-problem")).to_have_text(re.compile("^The sample says other"))
    page.fill("#describe-text", "I will be there at noon, and not a minute later.")
    page.click("#save-voice")
    tab.check_saved("described")
    voice = tab.saved("described")
    assert voice.text == "I will be there at noon, and not a minute later."
    assert voice.description == "A bright, quick voice."
    tab.check_speaks("described")


@pytest.mark.slow
def test_a_refused_file_says_why_and_loses_nothing(
    voices_tab: VoicesTab, complaints: Complaints, microphone: Path
) -> None:
    """What the page sees and what the server says stand beside the form; the rest is still there
    when another file is chosen."""
    tab, page = voices_tab, voices_tab.page
    complaints.expect("status of 400")
    with wave.open(str(microphone)) as wav:
        word = wav_file(wav.readframes(12_000))
    tab.start_new("upload")
    page.fill("#upload-text", SAID)
    page.fill("#new-voice-licence", LICENCE)
    for name, content, seen, told in (
        ("talk.txt", b"no sound", "cannot play the file", "not audio that can be read"),
        ("word.wav", word, "shorter than a second", "0.50 s"),
        ("still.wav", wav_file(bytes(144_000)), "There is no speech in it", "is silent"),
    ):
        choose(page, name, content)
        expect(page.locator("#recording-notes")).to_contain_text(seen)
        tab.save_as("second-try")
        expect(page.locator("#new-voice-problem")).to_have_text(re.compile(told))
        assert page.input_value("#upload-text") == SAID
        assert page.input_value("#new-voice-licence") == LICENCE
        assert page.evaluate("document.querySelector('#upload-file').files[0].name") == name
    page.set_input_files("#upload-file", microphone)
    page.click("#save-voice")
    tab.check_saved("second-try")
    assert tab.saved("second-try").licence == LICENCE


def test_a_name_that_cannot_be_is_told_at_once(voices_tab: VoicesTab, microphone: Path) -> None:
    """Nothing is sent for a name that the server would refuse."""
    tab, page = voices_tab, voices_tab.page
    sent = []
    page.on("request", lambda each: sent.append(f"{each.method} {each.url}"))
    tab.start_new("upload")
    page.set_input_files("#upload-file", microphone)
    page.fill("#upload-text", SAID)
    problem = page.locator("#new-voice-name-problem")
    for name, why in (
        ("Clara", "clara is a built-in voice"),
        ("-anna", "begins with a letter or digit"),
        ("an na", "begins with a letter or digit"),
        ("com1", "cannot be the name of a file"),
    ):
        page.fill("#new-voice-name", name)
        expect(problem).to_contain_text(why)
        page.click("#save-voice")
        expect(page.locator("#new-voice-problem")).to_contain_text(why)
        expect(page.locator("#new-voice-name")).to_be_focused()
    page.fill("#new-voice-name", "anna")
    expect(problem).to_be_hidden()
    assert not any(re.search("POST .*/voices", each) for each in sent)


def test_what_is_missing_is_told(voices_tab: VoicesTab) -> None:
    """The page goes to what is still to be given, one by one."""
    tab, page = voices_tab, voices_tab.page
    tab.start_new("upload")
    problem = page.locator("#new-voice-problem")
    for way, told, control in (
        ("upload", "Choose a file first.", "#upload-file"),
        ("record", "Record something first.", "#record"),
        ("describe", "Have a sample spoken first.", "#speak-sample"),
    ):
        page.check(f"#way-{way}")
        expect(problem).to_be_hidden()
        page.click("#save-voice")
        expect(problem).to_contain_text(told)
        expect(page.locator(control)).to_be_focused()
    page.click("#speak-sample")
    expect(problem).to_have_text("Describe the voice first.")
    expect(page.locator("#describe-words")).to_be_focused()


@pytest.mark.slow
def test_a_saved_voice_is_replaced_when_one_says_so(
    voices_tab: VoicesTab, microphone: Path
) -> None:
    """A taken name asks before anything is sent."""
    tab, page = voices_tab, voices_tab.page
    tab.add("twice")
    tab.start_new("upload")
    page.set_input_files("#upload-file", microphone)
    page.fill("#upload-text", SAID)
    tab.save_as("twice")
    expect(page.locator("#new-voice-problem")).to_contain_text("There is a voice twice already")
    expect(page.locator("#replace")).to_be_focused()
    page.check("#replace")
    page.click("#save-voice")
    tab.check_saved("twice")
    assert tab.saved("twice").text == SAID


def test_a_microphone_that_is_refused_says_what_to_do(
    open_page: OpenPage, server: HttpWorker
) -> None:
    """And the page is as before."""
    page = open_page(f"{server.url}/#/voices")
    tab = VoicesTab(page, server)
    tab.start_new("record")
    page.click("#record")
    problem = page.locator("#new-voice-problem")
    expect(problem).to_have_text(re.compile("Allow it in the browser's settings"))
    expect(page.locator("#record")).to_have_text("Record")


def test_without_a_secure_context_it_says_where_to_record(
    open_page: OpenPage, server: HttpWorker
) -> None:
    """Plain http on a local network: browsers have no microphone there; files can be uploaded."""
    page = open_page(f"{server.url.replace('127.0.0.1', LAN_HOST)}/#/voices")
    tab = VoicesTab(page, server)
    tab.start_new("record")
    page.click("#record")
    problem = page.locator("#new-voice-problem")
    expect(problem).to_have_text(re.compile("over https or on localhost alone.*upload a file"))


@pytest.mark.slow
def test_the_microphone_is_open_no_longer_than_it_records(voices_tab: VoicesTab) -> None:
    """Whoever goes to another part of the page, or closes the form, ends the recording and keeps
    what it has."""
    tab, page = voices_tab, voices_tab.page
    page.evaluate(
        """() => {
            const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            navigator.mediaDevices.getUserMedia = async (wish) => (window.stream = await ask(wish));
        }"""
    )
    tab.start_new("record")
    for leave in ("#tab-code", "#new-voice-summary"):
        page.click("#record")
        expect(page.locator("#record-time")).to_have_text("0:01")
        state = "window.stream.getTracks()[0].readyState"
        assert page.evaluate(state) == "live"
        page.click(leave)
        page.wait_for_function(f"() => {state} === 'ended'")
        page.click("#tab-voices")
        page.locator("#new-voice").evaluate("(details) => { details.open = true; }")
        expect(page.locator("#recording-sound")).to_be_visible()
        expect(page.locator("#record")).to_have_text("Record again")
