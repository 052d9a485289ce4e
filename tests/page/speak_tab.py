"""The part of the page that speaks, as a person uses it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.fakes.http_worker import decoded
from tests.page.download import downloaded
from tests.page.patience import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

_NOTE_SENTENCES = """() => {
    window.heardSentences = [];
    new MutationObserver(() => {
        const all = [...document.querySelectorAll("#transcript .sentence")];
        const heard = all.findIndex((each) => each.ariaCurrent === "true");
        if (heard >= 0 && heard !== heardSentences.at(-1)) heardSentences.push(heard);
    }).observe(document.getElementById("transcript"), {
        attributes: true, childList: true, subtree: true,
    });
}"""
_SPEECH = """() => performance.getEntriesByType("resource").findLast(
    (each) => each.name.endsWith("/v1/audio/speech"))?.toJSON()"""


class SpeakTab:
    """Writes, speaks, and looks at what is shown."""

    def __init__(self, page: "Page") -> None:
        self.page = page

    def write(self, text: str) -> None:
        """Put a text in place of what is there."""
        self.page.fill("#text", text)

    def choose(self, **settings: str) -> None:
        """Set settings by their names in a request."""
        for name, value in settings.items():
            control = self.page.locator(f"#field-{name}")
            if not control.is_visible():
                self.page.click("details.more summary")
            if control.evaluate("(each) => each.localName") == "select":
                control.select_option(value)
            else:
                control.fill(value)

    def start(self, text: str, **settings: str) -> None:
        """Write, and press Speak."""
        self.write(text)
        self.choose(**settings)
        self.page.click("#speak")

    def say(self, text: str, **settings: str) -> None:
        """Speak, and wait until all of it is there."""
        self.start(text, **settings)
        self.wait_until_over()
        expect(self.page.locator("#problem")).to_be_hidden()

    def wait_until_over(self) -> None:
        """Wait until no request runs."""
        expect(self.page.locator("#sound")).to_have_attribute("aria-busy", "false")

    def wait_for_sound(self) -> None:
        """Wait until the first sound has come."""
        expect(self.page.locator("#told")).to_have_text("Speaking")

    def wait_until_heard(self) -> None:
        """Wait until it has been played to its end."""
        expect(self.play).to_have_attribute("data-icon", "replay")

    @property
    def play(self) -> "Locator":
        """The button that plays and pauses."""
        return self.page.locator("#play")

    @property
    def problem(self) -> "Locator":
        """Where it is told what went wrong."""
        return self.page.locator("#problem")

    @property
    def told(self) -> "Locator":
        """What a screen reader is told."""
        return self.page.locator("#told")

    @property
    def position_s(self) -> float:
        """Where it plays, by the slider."""
        return float(self.page.locator("#seek").input_value())

    @property
    def facts(self) -> list[str]:
        """First sound, length, real-time factor, seed, voice."""
        return self.page.locator("#facts dd").all_inner_texts()

    @property
    def length_s(self) -> float:
        """The length that is told."""
        number, unit = self.facts[1].split()
        assert unit == "s", self.facts
        return float(number)

    @property
    def sentences(self) -> list[str]:
        """What is said, as it is shown."""
        shown = self.page.locator("#transcript .sentence > span").all_inner_texts()
        return [each.strip() for each in shown]

    @contextlib.contextmanager
    def noting_sentences(self) -> Iterator[Callable[[], list[int]]]:
        """Note which sentences are marked, in order; yields a function that tells."""
        self.page.evaluate(_NOTE_SENTENCES)
        yield lambda: self.page.evaluate("() => heardSentences")

    def download(self) -> tuple[str, bytes]:
        """Return the name and the bytes of the file that is offered."""
        return downloaded(self.page, lambda: self.page.click("#download"))

    def samples(self) -> np.ndarray:
        """Return the samples of the take, [samples] int16, by a download as WAV."""
        name, file = self.download()
        assert name.endswith(".wav")
        return decoded(file)

    def speech_entry(self) -> dict[str, Any]:
        """Return the browser's own times of the last request for speech, in milliseconds."""
        entry: dict[str, Any] = self.page.evaluate(_SPEECH)
        return entry
