"""The page's recorder: what the microphone hears, and what is said where there is none."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from higgs_worker.audio.pcm import PCM
from higgs_worker.audio.read import read
from tests.page.chromium import LAN_HOST
from tests.page.conftest import OpenPage
from tests.page.page_files import PageFiles

if TYPE_CHECKING:
    from playwright.sync_api import Page

TOOLS = """
/** Makes a recorder, and keeps the streams that it is given. */
globalThis.made = async () => {
  const { Recorder } = await import("/page/recorder.js");
  const streams = [];
  const { getUserMedia } = MediaDevices.prototype;
  MediaDevices.prototype.getUserMedia = async function (asked) {
    streams.push(await getUserMedia.call(this, asked));
    return streams.at(-1);
  };
  return { recorder: new Recorder(), streams };
};

globalThis.sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

globalThis.recorded = (recorder, seconds) => new Promise((resolve) => {
  recorder.addEventListener("time", () => recorder.durationS >= seconds && resolve());
});

/** Says whether the microphone is open. */
globalThis.areOpen = (streams) =>
  streams.flatMap((each) => each.getTracks()).some(({ readyState }) => readyState === "live");
"""

MAX_DIFFERENCE = 0.05
"""Of the energy, because two resamplers differ by a part of a sample."""
LATE_S = 0.01
"""The silence that the browser puts in where its pretended microphone is late: a busy machine."""


def parts(heard: PCM, rate: int) -> list[PCM]:
    """Return what lies between the silences that the browser put in, where it is 0.2 s or more."""
    is_silent = np.concatenate([[False], heard == 0, [False]])
    edges = np.flatnonzero(np.diff(is_silent)).reshape(-1, 2)
    silences = [each for each in edges if np.diff(each) >= 0.9 * LATE_S * rate]
    bounds = np.concatenate([[0], *silences, [len(heard)]]).reshape(-1, 2).astype(int)
    return [heard[start:end] for start, end in bounds if end - start >= 0.2 * rate]


def difference(heard: PCM, said: PCM) -> float:
    """Return the share of energy by which a part of what is said, again and again, differs."""
    twice = np.concatenate([said, said])
    size = 1 << len(twice).bit_length()
    spectrum = np.fft.rfft(twice, size) * np.conj(np.fft.rfft(heard, size))
    start = int(np.fft.irfft(spectrum, size)[: len(said)].argmax())
    error = heard - twice[start : start + len(heard)]
    return float(np.square(error).sum() / np.square(heard).sum())


@pytest.fixture
def page(open_page: OpenPage, files: PageFiles) -> "Page":
    """Return a page that may use the microphone."""
    page = open_page(files.url, permissions=["microphone"])
    page.evaluate(TOOLS + "0")
    return page


def test_what_is_heard_is_recorded(page: "Page", microphone: Path) -> None:
    """Without a gap and unchanged in level, and the level is told on the way."""
    result = page.evaluate("""async () => {
      const { recorder, streams } = await made();
      const levels = [];
      recorder.addEventListener("level", ({ detail }) => levels.push(detail));
      await recorder.start();
      const [track] = streams[0].getTracks();
      const { echoCancellation, noiseSuppression, autoGainControl } = track.getSettings();
      await recorded(recorder, 2);
      const wasOpen = recorder.isRecording && areOpen(streams);
      const { samples, sampleRate } = recorder.stop();
      const { toPcm16 } = await import("/page/wav.js");
      return {
        settings: [echoCancellation, noiseSuppression, autoGainControl],
        levels,
        pcm: btoa(Array.from(toPcm16(samples), (each) => String.fromCharCode(each)).join("")),
        sampleRate,
        open: [wasOpen, recorder.isRecording || areOpen(streams)],
      };
    }""")
    rate, levels = result["sampleRate"], result["levels"]
    heard = np.frombuffer(base64.b64decode(result["pcm"]), "<i2").astype(np.float32) / 32768
    assert result["settings"] == [False, False, False]
    assert result["open"] == [True, False]
    assert len(heard) == pytest.approx(2 * rate, abs=0.2 * rate)
    assert len(levels) == pytest.approx(20 * len(heard) / rate, abs=1)
    assert all(-100 <= each["rmsDb"] <= each["peakDb"] <= 0 for each in levels)
    peak_db = 20 * np.log10(np.abs(heard).max())
    assert max(each["peakDb"] for each in levels) == pytest.approx(peak_db, abs=0.01)

    said = read(microphone.read_bytes(), sample_rate=rate, min_s=1, max_s=60)
    found = parts(heard, rate)
    assert sum(map(len, found)) > 1.5 * rate
    assert [difference(each, said) for each in found] == pytest.approx(
        [0] * len(found), abs=MAX_DIFFERENCE
    )
    # It would be noticed if 3 ms, one block of the browser's, were missing.
    middle = len(found[-1]) // 2 + np.arange(128)
    assert difference(np.delete(found[-1], middle), said) > 2 * MAX_DIFFERENCE


def test_a_minute_is_the_most(page: "Page") -> None:
    """It ends by itself then, keeps what it has and lets the microphone go."""
    result = page.evaluate("""async () => {
      // A minute of it is half a second.
      const { AudioContext } = globalThis;
      globalThis.AudioContext = class extends AudioContext {
        get sampleRate() {
          return super.sampleRate / 120;
        }
      };
      const { recorder, streams } = await made();
      await recorder.start();
      await new Promise((resolve) => recorder.addEventListener("end", resolve));
      const open = recorder.isRecording || areOpen(streams);
      const { samples, sampleRate } = recorder.stop();
      return [open, samples.length / sampleRate, recorder.durationS];
    }""")
    assert result == [False, pytest.approx(60, abs=0.01), 0]


def test_a_microphone_that_goes_away_ends_it(page: "Page") -> None:
    """What was recorded before is kept."""
    result = page.evaluate("""async () => {
      const { recorder, streams } = await made();
      await recorder.start();
      await recorded(recorder, 0.2);
      const ended = new Promise((resolve) => recorder.addEventListener("end", resolve));
      streams[0].getTracks()[0].dispatchEvent(new Event("ended"));
      await ended;
      return [recorder.isRecording || areOpen(streams), recorder.stop().samples.length > 0];
    }""")
    assert result == [False, True]


def test_the_microphone_is_always_let_go(page: "Page") -> None:
    """After a cancel, also one that comes before it is open; and after another start."""
    result = page.evaluate("""async () => {
      const { recorder, streams } = await made();
      const open = [];
      for (const delayS of [0, 0.001, 0.05, 0.3]) {
        const started = recorder.start();
        await sleep(delayS);
        recorder.cancel();
        await started;
        open.push(recorder.isRecording || areOpen(streams));
      }
      recorder.start();
      await recorder.start();
      await recorded(recorder, 0.1);
      open.push(streams.filter((each) => areOpen([each])).length);
      recorder.cancel();
      open.push(areOpen(streams), recorder.durationS);
      return open;
    }""")
    assert result == [False, False, False, False, 1, False, 0]


REASON = """async () => {
  const { Recorder, RecorderError } = await import("/page/recorder.js");
  const recorder = new Recorder();
  const error = await recorder.start().catch((each) => each);
  return [error instanceof RecorderError, error.reason, recorder.isRecording];
}"""


def test_a_refusal_is_told(open_page: OpenPage, files: PageFiles) -> None:
    """The browser does not let this page have the microphone."""
    assert open_page(files.url).evaluate(REASON) == [True, "denied", False]


def test_a_page_that_is_not_secure_is_told(open_page: OpenPage, files: PageFiles) -> None:
    """Over plain http in a network there is no microphone for any page."""
    page = open_page(files.url.replace("127.0.0.1", LAN_HOST))
    assert page.evaluate(REASON) == [True, "insecure", False]


def test_other_errors_are_told_apart(page: "Page") -> None:
    """None there, one that another program holds, and what nobody expects."""
    reasons = {"NotFoundError": "none", "NotReadableError": "busy", "TypeError": "other"}
    for name, reason in reasons.items():
        page.evaluate(
            """(name) => {
              MediaDevices.prototype.getUserMedia = async () => {
                throw new DOMException("no", name);
              };
            }""",
            name,
        )
        assert page.evaluate(REASON) == [True, reason, False]


def test_an_error_after_it_was_opened_lets_it_go(page: "Page") -> None:
    """The microphone is not left on."""
    assert page.evaluate("""async () => {
      const { recorder, streams } = await made();
      AudioWorklet.prototype.addModule = async () => {
        throw new Error("no worklet");
      };
      const error = await recorder.start().catch((each) => each);
      return [error.reason, error.cause.message, areOpen(streams), recorder.isRecording];
    }""") == ["other", "no worklet", False, False]
