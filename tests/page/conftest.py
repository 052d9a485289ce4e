"""A browser, servers, and pages that fail a test when the browser complains.

Nothing here may be asked for by a test that runs an event loop: Playwright has one of its own.
"""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from higgs_worker.voices.library import PRESETS
from tests.fakes.http_worker import HttpWorker
from tests.page.chromium import NoBrowser, find_chromium, flags
from tests.page.complaints import Complaints
from tests.page.ear import open_ear
from tests.page.page_files import PageFiles
from tests.page.patience import PATIENCE_MS
from tests.page.speak_tab import SpeakTab
from tests.page.voices_tab import VoicesTab

if TYPE_CHECKING:
    # The run without a browser collects these tests as well, and does without Playwright.
    from playwright.sync_api import Browser, Page

OpenPage = Callable[..., "Page"]
SCRIPTED = "tests.fakes.scripted_server"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a browser."""
    for each in items:
        if "browser" in getattr(each, "fixturenames", ()):
            each.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's microphone hears: six seconds of clear speech."""
    with zipfile.ZipFile(PRESETS / "clara.zip") as voice:
        return Path(voice.extract("voice.wav", tmp_path_factory.mktemp("microphone")))


@pytest.fixture(scope="session")
def browser(microphone: Path) -> Iterator["Browser"]:
    """Chromium or Chrome of this machine, without a window."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    try:
        program = find_chromium()
    except NoBrowser as error:
        pytest.fail(str(error), pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags(microphone))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpWorker]:
    """A server with the embedded model, and without a key."""
    with HttpWorker(tmp_path_factory.mktemp("server"), HIGGS_API_KEY="") as server:
        yield server


@pytest.fixture(scope="session")
def keyed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpWorker]:
    """A server with the key `KEY` of tests/fakes/http_worker.py; its model goes by a script."""
    with HttpWorker(tmp_path_factory.mktemp("keyed"), module=SCRIPTED) as server:
        yield server


def scripted_worker(directory: Path, **settings: str) -> HttpWorker:
    """Return a server without a key whose model goes by a script."""
    return HttpWorker(directory, module=SCRIPTED, HIGGS_API_KEY="", **settings)


@pytest.fixture(scope="session")
def scripted_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpWorker]:
    """Such a server, which speaks one request while one waits."""
    small = {"HIGGS_MAX_SLOTS": "1", "HIGGS_QUEUE_SIZE": "1"}
    with scripted_worker(tmp_path_factory.mktemp("scripted"), **small) as server:
        yield server


@pytest.fixture(scope="session")
def files() -> Iterator[PageFiles]:
    """A server of the page's files, without a worker behind it."""
    with PageFiles() as files:
        yield files


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """What the pages of a test complain of; it fails on any that the test does not expect."""
    complaints = Complaints()
    yield complaints
    complaints.check()


@pytest.fixture
def open_page(browser: "Browser", complaints: Complaints) -> Iterator[OpenPage]:
    """Return a function that opens an address in a context of its own.

    With `has_ear`, what it plays is heard (tests/page/ear.py). Its further arguments are those of
    Playwright's `new_context`: `viewport`, `color_scheme`, `reduced_motion`,
    `permissions=["microphone"]`, and so on.
    """
    contexts = []

    def open_page(address: str, *, has_ear: bool = False, **options: Any) -> "Page":
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        complaints.listen_to(context, address)
        if has_ear:
            open_ear(context)
        page = context.new_page()
        page.goto(address)
        return page

    yield open_page
    for each in contexts:
        each.close()


@pytest.fixture
def page(open_page: OpenPage, server: HttpWorker) -> "Page":
    """The page of a server without a key."""
    return open_page(server.url)


@pytest.fixture
def tab(open_page: OpenPage, server: HttpWorker) -> SpeakTab:
    """The part that speaks, of a server without a key; what it plays is heard."""
    return SpeakTab(open_page(server.url, has_ear=True))


@pytest.fixture
def voices_tab(open_page: OpenPage, server: HttpWorker) -> Iterator[VoicesTab]:
    """The part with the voices, in a browser that may use the microphone; what it plays is heard.

    The voices that a test adds are removed.
    """
    page = open_page(f"{server.url}/#/voices", has_ear=True, permissions=["microphone"])
    tab = VoicesTab(page, server)
    before = set(tab.directory.glob("*.zip"))
    yield tab
    for each in set(tab.directory.glob("*.zip")) - before:
        each.unlink()


@pytest.fixture
def keyed_page(open_page: OpenPage, keyed_server: HttpWorker) -> "Page":
    """The page of a server with a key, which nobody has entered yet."""
    return open_page(keyed_server.url)


@pytest.fixture
def blank_page(open_page: OpenPage, files: PageFiles) -> "Page":
    """A blank page, whose scripts may `await import("/page/NAME.js")`."""
    return open_page(files.url)
