"""What is typed is spoken and heard, followed, stopped, kept and had again."""

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from higgs_worker.voices.library import PRESETS, VoiceLibrary
from tests.fakes.http_worker import RATE, HttpWorker, decoded, is_speech
from tests.page.conftest import OpenPage
from tests.page.ear import first_sound_ms, take_heard, trimmed
from tests.page.figures import CANCELLED, figure, seconds_until
from tests.page.patience import expect
from tests.page.speak_tab import SpeakTab

if TYPE_CHECKING:
    from playwright.sync_api import Page

TWO = "The boat came home. It was late."
FOUR = "The boat came home. It was late in the evening. Nobody was there. The lamp was out."
LONG = " ".join([FOUR] * 12)
NOTE_LONG_TASKS = """() => {
    window.longestTaskMs = 0;
    new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) {
            longestTaskMs = Math.max(longestTaskMs, duration);
        }
    }).observe({ entryTypes: ["longtask"] });
}"""
LONGEST_TASK_MS = 1000
"""A slow machine takes a tenth of it; what is bound to the length of the text takes more."""
STOP_S = 1.0
"""Within it the server is to have stopped, from the click on."""


def events_of(body: bytes) -> list[dict[str, Any]]:
    """Return the events of a reply."""
    return [json.loads(line[6:]) for line in body.decode().splitlines() if line[:5] == "data:"]


def sounding(samples: np.ndarray) -> np.ndarray:
    """Return samples without those that are exactly zero: a slow machine pauses in between."""
    return samples[samples != 0]


def is_same_sound(heard: np.ndarray, samples: np.ndarray) -> bool:
    """Tell whether all of a sound was heard, with pauses and their fades where it ran dry."""
    one, two = (sounding(each).astype(float) for each in (heard, samples))
    return abs(len(one) - len(two)) < 0.1 * RATE and bool(
        abs(np.sum(one**2) / np.sum(two**2) - 1) < 0.02
    )


def test_what_is_typed_is_heard(tab: SpeakTab) -> None:
    """The sound that plays is what the server said, of the length that it told, and speech."""
    with tab.page.expect_response("**/v1/audio/speech") as response:
        tab.say(TWO, seed="7")
    done = events_of(response.value.body())[-1]
    tab.wait_until_heard()
    samples, heard = tab.samples(), take_heard(tab.page)
    length_s = done["segments"][-1]["end_s"]
    assert is_same_sound(heard, samples)
    assert is_speech(samples, length_s, tolerance_s=0.02)
    assert is_speech(sounding(heard), length_s)
    assert tab.length_s == pytest.approx(length_s, abs=0.01)
    assert tab.sentences == [each["text"] for each in done["segments"]]
    # Again, from its beginning, and sample by sample, because nothing has to come any more.
    tab.play.click()
    expect(tab.play).to_have_attribute("data-icon", "pause")
    tab.wait_until_heard()
    assert np.array_equal(take_heard(tab.page), trimmed(samples))


def test_the_first_sound_comes_before_the_request_ends(tab: SpeakTab) -> None:
    """It is heard while the server still speaks."""
    tab.say(FOUR)
    first = first_sound_ms(tab.page)
    entry = tab.speech_entry()
    assert first is not None
    assert entry["requestStart"] < first < entry["responseEnd"]


def test_pause_and_seek(tab: SpeakTab) -> None:
    """A pause is silent and stands still; from wherever the slider is put, the rest is heard."""
    page = tab.page
    tab.say(TWO, seed="7")
    samples = tab.samples()
    seek = page.locator("#seek")
    seek.fill("0.5")
    if tab.play.get_attribute("data-icon") != "pause":  # a slow machine is through already
        tab.play.click()
    expect(tab.play).to_have_attribute("data-icon", "pause")
    tab.play.click()
    expect(tab.play).to_have_attribute("data-icon", "play")
    take_heard(page)
    position_s = tab.position_s
    assert 0.5 <= position_s < tab.length_s
    page.wait_for_timeout(200)
    assert (len(take_heard(page)), tab.position_s) == (0, position_s)

    seek.fill("1.5")
    assert tab.position_s == pytest.approx(1.5, abs=0.01)
    tab.play.click()
    tab.wait_until_heard()
    assert is_tail(take_heard(page), samples, start_s=1.5)

    seek.focus()
    seek.press("Home")
    expect(seek).to_have_attribute("aria-valuetext", re.compile(r"^0\.00 s of "))
    seek.press("ArrowRight")
    assert tab.position_s == pytest.approx(1, abs=0.01)  # a step is a second
    tab.play.click()
    tab.wait_until_heard()
    assert is_tail(take_heard(page), samples, start_s=1)


def test_the_slider_follows_again_after_a_drag(tab: SpeakTab) -> None:
    """Also when it was dragged forth and back to where it was."""
    page = tab.page
    tab.say("It was late.", seed="7")
    tab.wait_until_heard()
    page.fill("#seek", "0")
    box = page.locator("#seek").bounding_box()
    assert box
    start, y = box["x"] + 8, box["y"] + box["height"] / 2
    page.mouse.move(start, y)
    page.mouse.down()
    page.mouse.move(start + 100, y)
    assert tab.position_s > 0.1
    page.mouse.move(start - 20, y)
    page.mouse.up()
    assert tab.position_s == 0
    tab.play.click()
    tab.wait_until_heard()
    assert tab.position_s == pytest.approx(tab.length_s, abs=0.02)


def is_tail(heard: np.ndarray, samples: np.ndarray, *, start_s: float) -> bool:
    """Tell whether a sound was heard from a second on to its end, sample by sample."""
    fade, tail = RATE // 100, trimmed(samples[round(start_s * RATE) :])
    num = min(len(heard), len(tail)) - fade
    # A few samples about where it begins: the slider has steps, and what fades in starts with zero.
    return abs(len(heard) - len(tail)) < fade and np.array_equal(heard[-num:], tail[-num:])


def test_sentences_are_followed(tab: SpeakTab) -> None:
    """The one that is heard is marked: all in order, and the one that is sought."""
    page = tab.page
    with tab.noting_sentences() as noted:
        tab.start(FOUR, speed="2")
        tab.wait_for_sound()
        expect(page.locator("#transcript .sentence")).to_have_count(4)  # before all is there
        assert page.get_attribute("#sound", "aria-busy") == "true"
        tab.wait_until_over()
        tab.wait_until_heard()
        assert noted() == [0, 1, 2, 3]
    marked = page.locator("#transcript [aria-current=true]")
    third = page.locator("#transcript .sentence").nth(2)
    third.click()
    expect(marked).to_have_text(re.compile("Nobody was there"))
    tab.play.click()
    page.fill("#seek", "0")
    expect(marked).to_have_text(re.compile("The boat came home"))


def test_stop_reaches_the_server(tab: SpeakTab, server: HttpWorker) -> None:
    """Within a second of the click nothing runs there, and the sound has stopped as well."""
    before = figure(server, CANCELLED)
    tab.start(LONG)
    tab.wait_for_sound()
    tab.page.click("#stop")
    assert seconds_until(server, cancelled=before + 1, running=0) < STOP_S
    expect(tab.told).to_have_text(re.compile(r"^Stopped after .* of sound\.$"))
    expect(tab.play).to_have_attribute("data-icon", "play")
    take_heard(tab.page)
    tab.page.wait_for_timeout(200)
    assert len(take_heard(tab.page)) == 0
    # What came is kept, and can be heard.
    assert is_speech(tab.samples(), tab.length_s)
    expect(tab.page.locator("#history-list li")).to_have_count(1)


def test_keys(page: "Page", server: HttpWorker) -> None:
    """Ctrl+Enter speaks once, however long it is held; Escape stops, and the text has the focus."""
    tab, text = SpeakTab(page), page.locator("#text")
    asked: list[str] = []
    page.on("request", lambda each: asked.append(each.url) if "audio/speech" in each.url else None)
    tab.write(LONG)
    before = figure(server, CANCELLED)
    text.focus()
    page.keyboard.down("Control")
    for _ in range(3):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    page.keyboard.up("Control")
    tab.wait_for_sound()
    page.keyboard.press("Escape")
    seconds_until(server, cancelled=before + 1, running=0)
    expect(tab.told).to_have_text(re.compile("^Stopped"))
    expect(text).to_be_focused()
    expect(text).to_have_value(LONG)
    assert len(asked) == 1


def test_speaking_again_stops_the_one_before(tab: SpeakTab, server: HttpWorker) -> None:
    """The first ends on the server, and the second alone is heard from then on."""
    before = figure(server, CANCELLED)
    tab.start(LONG)
    tab.wait_for_sound()
    tab.start("It was late.", seed="3")
    seconds_until(server, cancelled=before + 1, running=0)
    expect(tab.told).to_have_text(re.compile("^Done"))
    assert tab.sentences == ["It was late."]
    assert is_speech(tab.samples(), tab.length_s)
    names = tab.page.locator("#history-list .name").all_inner_texts()
    assert [each[:12] for each in names] == ["It was late.", "The boat cam"]


def test_facts_and_seeds(tab: SpeakTab) -> None:
    """What is told is so, and a seed that is kept gives the same samples."""
    with tab.page.expect_response("**/v1/audio/speech") as response:
        tab.say("It was late.")
    first_sound, length, rtf, seed, voice = tab.facts
    done = events_of(response.value.body())[-1]
    assert (seed, rtf) == (str(done["seed"]), f"{done['timing']['rtf']:.2f}")
    assert float(first_sound.split()[0]) >= done["timing"]["first_audio_s"] - 0.01
    assert (length, voice) == (f"{done['segments'][-1]['end_s']:.2f} s", "The model chooses")
    name, one = tab.download()
    assert name == f"speech-{seed}.wav"

    tab.page.click("#keep-seed")
    expect(tab.page.locator("#field-seed")).to_have_value(seed)
    tab.say("It was late.")
    assert tab.facts[3] == seed
    two = tab.samples()
    assert np.abs(decoded(one).astype(int) - two).max() <= 1


def test_warnings(tab: SpeakTab) -> None:
    """What the server warns of is shown, and a speech that was cut says so."""
    tab.say(TWO, max_duration_s="1")
    shown = tab.page.locator("#warnings li").all_inner_texts()
    assert any("embedded demo model" in each for each in shown)
    assert any("greatest length" in each for each in shown)
    assert tab.length_s == 1


def test_settings_reach_the_server(tab: SpeakTab) -> None:
    """What is chosen is sent, what is not is left to the server, and twice as fast is half."""
    page = tab.page
    with page.expect_request("**/v1/audio/speech") as plain:
        tab.say("It was late.", seed="7")
    length_s = tab.length_s
    with page.expect_request("**/v1/audio/speech") as request:
        tab.say("It was late.", speed="2", language="en", temperature="0", scene="A hall.")
    assert tab.length_s == pytest.approx(length_s / 2, abs=0.15)
    own = {
        "response_format": "pcm",
        "stream_format": "sse",
        "sample_rate": RATE,
        "strict_tags": True,
    }
    asked = {"input": "It was late.", "seed": 7, **own}
    assert plain.value.post_data_json == asked
    changed = {"speed": 2, "language": "en", "temperature": 0, "scene": "A hall."}
    assert request.value.post_data_json == asked | changed
    page.click("#reset")
    with page.expect_request("**/v1/audio/speech") as again:
        tab.say("It was late.")
    assert again.value.post_data_json.keys() == plain.value.post_data_json.keys()


FORMATS = ("wav", "mp3", "flac", "opus", "aac", "pcm", "ulaw", "alaw")


def test_downloads(tab: SpeakTab) -> None:
    """Each format is a file that another library opens, as long as what was heard."""
    for name in FORMATS:
        tab.say("Late.", seed="7", format=name)
        file_name, file = tab.download()
        assert file_name == f"speech-7.{name}"
        length_s = {
            "pcm": len(file) / 2 / RATE,
            "ulaw": len(file) / 8000,
            "alaw": len(file) / 8000,
        }.get(name) or len(decoded(file)) / RATE
        # MP3 and AAC have frames of up to 50 ms, and an encoder's delay before them.
        assert length_s == pytest.approx(tab.length_s, abs=0.12), name


def test_history(tab: SpeakTab) -> None:
    """A take can be heard again as it was, its text and settings be used again, and be removed."""
    page = tab.page
    tab.say("It was late.", seed="7", speed="1.5")
    late = tab.samples()
    page.click("#reset")
    tab.say("The lamp was out.")
    newest, oldest = (page.locator("#history-list li").nth(each) for each in (0, 1))
    expect(oldest.locator(".name")).to_have_text("It was late.")

    tab.wait_until_heard()
    take_heard(page)
    oldest.get_by_role("button", name="Listen").click()
    tab.wait_until_heard()
    assert np.array_equal(take_heard(page), trimmed(late))
    assert tab.sentences == ["It was late."]

    expect(page.locator("#text")).to_have_value("The lamp was out.")
    oldest.get_by_role("button", name="Use its text").click()
    expect(page.locator("#text")).to_have_value("It was late.")
    expect(page.locator("#field-speed")).to_have_value("1.5")
    expect(page.locator("#field-seed")).to_have_value("7")

    newest.get_by_role("button", name="Remove").click()
    expect(page.locator("#history-list .name")).to_have_text(["It was late."])
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("#history")).to_be_hidden()
    expect(page.locator("#text")).to_be_focused()


def test_history_is_bounded(tab: SpeakTab) -> None:
    """Fifty takes, or half an hour of sound; the last one stays, however long it is."""
    names = tab.page.evaluate("""async () => {
        const { History } = await import("./page/history.js");
        const history = new History();
        const shown = () => [...document.querySelectorAll("#history-list .name")];
        for (let i = 0; i < 60; i += 1) history.add({ name: `short ${i}`, lengthS: 1 });
        const short = shown().map((each) => each.textContent);
        for (let i = 0; i < 4; i += 1) history.add({ name: `long ${i}`, lengthS: 700 });
        const long = shown().map((each) => each.textContent);
        history.add({ name: "an hour", lengthS: 3600 });
        return [short, long, shown().map((each) => each.textContent)];
    }""")
    assert names[0] == [f"short {each}" for each in range(59, 9, -1)]
    assert names[1] == ["long 3", "long 2"]
    assert names[2] == ["an hour"]


def test_a_reload_keeps_the_form(tab: SpeakTab) -> None:
    """Text, voice and settings are there again, and what is spoken is not spoken again."""
    page = tab.page
    page.select_option("#voice", "clara")
    tab.say("It was late.", speed="1.5", temperature="0.5")
    page.wait_for_function("() => sessionStorage.getItem('higgs-form')?.includes('0.5')")
    page.reload()
    expect(page.locator("#text")).to_have_value("It was late.")
    expect(page.locator("#voice")).to_have_value("clara")
    expect(page.locator("#field-speed")).to_have_value("1.5")
    expect(page.locator("#field-temperature")).to_have_value("0.5")
    expect(page.locator("#history")).to_be_hidden()
    expect(page.locator("#sound-full")).to_be_hidden()


def test_a_dialogue(tab: SpeakTab) -> None:
    """Who speaks is found in the text; one click gives voices; tags go where the cursor is."""
    page = tab.page
    expect(page.locator("#voice option", has_text="clara")).to_have_count(1)
    tab.write("[Anna] Is it late?\n[Bert] No.")
    expect(page.get_by_label("Voice of Anna")).to_have_value("")
    page.click("#give-voices")
    chosen = [page.get_by_label(f"Voice of {each}").input_value() for each in ("Anna", "Bert")]
    assert len(set(chosen)) == 2
    assert "" not in chosen

    text = page.locator("#text")
    text.press("Control+End")
    text.press("ArrowLeft")  # before the full stop
    page.select_option("#tags", label="A pause")
    expect(text).to_have_value("[Anna] Is it late?\n[Bert] No [pause 500ms].")
    expect(text).to_be_focused()
    text.press("Control+z")
    expect(text).to_have_value("[Anna] Is it late?\n[Bert] No.")

    with page.expect_request("**/v1/audio/speech") as request:
        tab.say(text.input_value(), seed="7")
    anna, bert = chosen
    assert request.value.post_data_json["speakers"] == {"Anna": anna, "Bert": bert}
    assert tab.sentences == ["Is it late?", "No."]
    assert page.locator("#transcript .speaker").all_inner_texts() == ["Anna", "Bert"]
    assert tab.facts[4] == "Anna, Bert"
    # Who is gone from the text, and comes back, has the voice of before.
    tab.write("[Bert] No.")
    tab.write("[Anna] Is it late?\n[Bert] No.")
    expect(page.get_by_label("Voice of Anna")).to_have_value(anna)


def test_a_voice_in_words(tab: SpeakTab) -> None:
    """It is described where the list offers that, and sent as a description."""
    page = tab.page
    page.select_option("#voice", label="Describe a voice …")
    page.fill("#description", "An old man.")
    with page.expect_request("**/v1/audio/speech") as request:
        tab.say("It was late.")
    assert request.value.post_data_json["voice"] == {"description": "An old man."}
    assert tab.facts[4] == "In words"
    page.select_option("#voice", "clara")
    expect(page.locator("#description")).to_be_hidden()
    with page.expect_request("**/v1/audio/speech") as request:
        tab.say("It was late.")
    assert request.value.post_data_json["voice"] == "clara"


def test_a_sample_of_a_voice(tab: SpeakTab, server: HttpWorker) -> None:
    """The button beside the voice plays its recording, and stops it; one sound at a time."""
    page, button = tab.page, tab.page.locator("#hear-voice")
    page.select_option("#voice", "clara")
    button.click()
    expect(button).to_have_accessible_name("Stop the sample")
    page.wait_for_function("() => firstSoundMs() < performance.now() - 500 && firstSoundMs()")
    button.click()
    expect(button).to_have_accessible_name("Hear a sample of clara")
    recording = VoiceLibrary(server.volume / "voices", presets=PRESETS).get("clara").wav
    heard, num = take_heard(page), RATE // 2
    assert np.array_equal(heard[:num], trimmed(decoded(recording))[:num])
    page.wait_for_timeout(200)
    assert len(take_heard(page)) == 0


def test_what_will_be_read(tab: SpeakTab) -> None:
    """Before it is spoken: words, characters, about how long, and what is read differently."""
    page = tab.page
    tab.write("It cost $5. It was late.")
    expect(page.locator("#count")).to_have_text("6 words · 24 characters")
    expect(page.locator("#expected")).to_have_text(re.compile(r"about \d\.\d\d s of sound"))
    page.click("#reading-summary")
    expect(page.locator("#reading dt")).to_have_text(["It cost $5."])
    expect(page.locator("#reading dd")).to_have_text(["It cost five dollars."])
    page.click("details.more summary")
    page.uncheck("#field-normalise")
    expect(page.locator("#reading")).to_be_hidden()
    tab.write("")
    expect(page.locator("#count")).to_have_text("0 words · 0 characters")
    expect(page.locator("#expected")).to_have_text("")


def test_a_long_text(open_page: OpenPage, scripted_server: HttpWorker) -> None:
    """Minutes of sound come at once: the page answers all the while, and scrolls in its frame."""
    page = open_page(scripted_server.url)
    tab = SpeakTab(page)
    page.evaluate(NOTE_LONG_TASKS)
    text = " ".join(f"{FOUR} {each}." for each in range(80))
    tab.say(text)
    minutes, seconds = tab.facts[1].split(":")
    assert int(minutes) >= 5
    assert page.evaluate("() => longestTaskMs") < LONGEST_TASK_MS
    assert len(tab.sentences) == 400
    transcript = page.locator("#transcript")
    transcript.scroll_into_view_if_needed()
    at_first = page.evaluate("() => scrollY")
    page.fill("#seek", "200")
    marked = page.locator("#transcript [aria-current=true]")
    expect(marked).to_be_in_viewport()
    scrolled, height, whole = transcript.evaluate(
        "(each) => [each.scrollTop, each.clientHeight, each.scrollHeight]"
    )
    assert 0 < scrolled < whole - height
    assert page.evaluate("() => scrollY") == at_first
    _, file = tab.download()
    assert len(file) / 2 / RATE == pytest.approx(60 * int(minutes) + int(seconds), abs=1)
