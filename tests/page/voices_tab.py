"""The page's Voices tab as a person uses it, and the voices that the worker has meanwhile."""

import re
from typing import TYPE_CHECKING

from higgs_worker.voices.library import PRESETS, VoiceInfo, VoiceLibrary
from tests.fakes.http_worker import HttpWorker
from tests.page.patience import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SAID = "The morning train was late again, so I sat by the window and read the paper twice."
"""What the microphone hears begins with it."""
LICENCE = "Mine; for tests."


class VoicesTab:
    """A page that shows the tab."""

    def __init__(self, page: "Page", server: HttpWorker) -> None:
        """
        Args:
            page: at the address of the tab.
            server: the worker behind it.
        """
        self.page = page
        self.directory = server.volume / "voices"
        self.library = VoiceLibrary(self.directory, presets=PRESETS)

    def add(self, *names: str) -> None:
        """Save voices without the page, all with the same recording, and load the page again."""
        wav = self.library.get("clara").wav
        for name in names:
            self.library.add(name, wav, f"{SAID} I am {name}.", licence=LICENCE)
        self.page.reload()

    def saved(self, name: str) -> VoiceInfo:
        """Return a voice that the worker has saved."""
        return next(each for each in self.library.list() if each.name == name)

    def card(self, name: str) -> "Locator":
        """Return what shows a voice."""
        return self.page.get_by_role("listitem", name=name, exact=True)

    def press(self, what: str, name: str) -> None:
        """Press a button of a voice: "Use", "Edit" or "Delete"."""
        self.card(name).get_by_role("button", name=f"{what} {name}").click()

    def start_new(self, way: str) -> None:
        """Open the form of a new voice: "upload", "record" or "describe"."""
        self.page.click("#new-voice-summary")
        self.page.check(f"#way-{way}")

    def save_as(self, name: str) -> None:
        """Give the new voice a name, and save it."""
        self.page.fill("#new-voice-name", name)
        self.page.click("#save-voice")

    def check_saved(self, name: str) -> None:
        """Check that the page shows a new voice, and has the focus on it."""
        expect(self.page.locator("#voices-told")).to_have_text(f"{name} is saved.")
        expect(self.card(name)).to_be_focused()
        expect(self.page.locator("#new-voice-form")).to_be_hidden()

    def check_speaks(self, name: str) -> None:
        """Check that a sentence is spoken by a voice that is chosen in the list."""
        self.press("Use", name)
        expect(self.page.locator("#panel-speak")).to_be_visible()
        expect(self.page.locator("#voice")).to_have_value(name)
        self.page.fill("#text", "Good evening.")
        with self.page.expect_request("**/v1/audio/speech") as request:
            self.page.click("#speak")
        assert request.value.post_data_json["voice"] == name
        expect(self.page.locator("#told")).to_have_text(re.compile(r"Done: \d\.\d\d s of sound\."))
