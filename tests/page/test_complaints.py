"""What the page's tests stand on: a browser that complains, hears and plays as a person's does."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.page.chromium import LAN_HOST
from tests.page.complaints import Complaints
from tests.page.conftest import OpenPage
from tests.page.download import downloaded
from tests.page.page_files import PageFiles
from tests.page.screens import SCREENS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOCUMENT = b"""<!doctype html>
<html lang="en"><head><title>Try</title><link rel="icon" href="page/icon.svg"></head>
<body><button>Go</button><script type="module" src="page/try.js"></script></body></html>"""

CAUSES = {
    "an error is thrown": ("setTimeout(() => { throw new Error('oh'); });", "uncaught: oh"),
    "a promise fails": ("Promise.reject(new Error('no'));", "uncaught: no"),
    "an error is printed": ("console.error('bad');", "error: bad"),
    "a warning is printed": ("console.warn('odd');", "warning: odd"),
    "a file is missing": ("fetch('page/none.js');", "error: .* status of 404"),
    "another host is asked": (
        "fetch('http://elsewhere.example/').catch(() => {});",
        "against the policy: connect-src http://elsewhere.example",
    ),
    "a style stands in the text": (
        "document.body.innerHTML = '<p style=\"color: red\">x</p>';",
        "against the policy: style-src-attr inline",
    ),
    "code is made of text": (
        "try { eval('1'); } catch {}",
        "against the policy: script-src eval",
    ),
}


def write(directory: Path, script: str) -> Path:
    """Write a module and an icon, and return their directory."""
    (directory / "try.js").write_text(f"{script}\nwindow.isDone = true;\n")
    (directory / "icon.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    return directory


@pytest.mark.parametrize("cause", CAUSES)
def test_what_goes_wrong_is_found(
    browser: "Browser", complaints: Complaints, open_page: OpenPage, tmp_path: Path, cause: str
) -> None:
    """Each is a complaint, so that a test which does not expect it fails."""
    script, complaint = CAUSES[cause]
    with PageFiles(write(tmp_path, script), DOCUMENT) as files:
        page = open_page(files.url)
        page.wait_for_function("() => window.isDone")
        page.wait_for_load_state("networkidle")
        with pytest.raises(AssertionError, match="the browser complains"):
            complaints.check()
        assert any(re.search(complaint, each) for each in complaints.found), complaints.found
        complaints.expect("")  # others may come with it


def test_a_request_elsewhere_is_found(
    complaints: Complaints, open_page: OpenPage, files: PageFiles
) -> None:
    """Where no policy stops it, a request to another origin is a complaint, and gets nowhere."""
    page = open_page(files.url)
    complaints.expect("foreign: GET http://elsewhere.example/")
    complaints.expect("ERR_NAME_NOT_RESOLVED")
    with pytest.raises(Exception, match="ERR_NAME_NOT_RESOLVED"):
        page.goto("http://elsewhere.example/")


def test_a_missing_complaint_is_found() -> None:
    """What a test expects must come."""
    complaints = Complaints()
    complaints.expect("status of 401")
    with pytest.raises(AssertionError, match="no complaint"):
        complaints.check()


def test_what_is_stopped_is_no_complaint(open_page: OpenPage, tmp_path: Path) -> None:
    """A page may abort its own requests and save a file of its own making."""
    script = """
        const stop = new AbortController();
        fetch("page/try.js", {signal: stop.signal}).catch(() => {});
        stop.abort();
        const link = document.createElement("a");
        link.href = URL.createObjectURL(new Blob(["sound"]));
        link.download = "speech.txt";
        document.querySelector("button").onclick = () => link.click();
    """
    with PageFiles(write(tmp_path, script), DOCUMENT) as files:
        page = open_page(files.url)
        assert downloaded(page, lambda: page.click("button")) == ("speech.txt", b"sound")


def test_the_microphone_hears_speech(open_page: OpenPage, files: PageFiles) -> None:
    """A page that may use the microphone hears the recording, and one that may not is refused."""
    ask = "navigator.mediaDevices.getUserMedia({audio: true})"
    page = open_page(files.url, permissions=["microphone"])
    peak = page.evaluate(
        f"""async () => {{
            const context = new AudioContext();
            const analyser = context.createAnalyser();
            context.createMediaStreamSource(await {ask}).connect(analyser);
            await context.resume();
            const samples = new Float32Array(analyser.fftSize);
            let peak = 0;
            for (let turn = 0; turn < 20; turn++) {{
                await new Promise((resolve) => setTimeout(resolve, 50));
                analyser.getFloatTimeDomainData(samples);
                peak = Math.max(peak, ...samples.map(Math.abs));
            }}
            return peak;
        }}"""
    )
    assert peak > 0.05
    refused = open_page(files.url)
    assert refused.evaluate(f"{ask}.catch((error) => error.name)") == "NotAllowedError"


def test_sound_needs_a_touch(complaints: Complaints, open_page: OpenPage, tmp_path: Path) -> None:
    """As for people, a page is silent until it is touched, and its clock runs from then on."""
    script = """
        window.untouched = new AudioContext().state;
        document.querySelector("button").onclick = () => { window.context = new AudioContext(); };
    """
    with PageFiles(write(tmp_path, script), DOCUMENT) as files:
        page = open_page(files.url)
        page.wait_for_function("() => window.isDone")
        page.click("button")
        page.wait_for_function("() => context.state === 'running' && context.currentTime > 0.2")
        assert page.evaluate("window.untouched") == "suspended"


def test_a_local_network_is_no_secure_context(open_page: OpenPage, files: PageFiles) -> None:
    """Under a host's name the page has no microphone and no worklet."""
    page = open_page(files.url.replace("127.0.0.1", LAN_HOST))
    assert page.evaluate("[isSecureContext, navigator.mediaDevices === undefined]") == [False, True]
    assert page.evaluate("new AudioContext().audioWorklet === undefined") is True


def test_a_context_is_as_it_is_asked_for(open_page: OpenPage, files: PageFiles) -> None:
    """Width, colours and motion are those of the test."""
    page = open_page(files.url, **SCREENS["phone, dark"], reduced_motion="reduce")
    matches = "(query) => matchMedia(query).matches"
    assert page.evaluate(matches, "(width: 360px)")
    assert page.evaluate(matches, "(prefers-color-scheme: dark)")
    assert page.evaluate(matches, "(prefers-reduced-motion: reduce)")
