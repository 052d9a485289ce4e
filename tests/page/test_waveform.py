"""The page's picture of a take: it grows with it, and shows how far it is played."""

from typing import TYPE_CHECKING

import pytest

from tests.page.conftest import OpenPage
from tests.page.page_files import PageFiles

if TYPE_CHECKING:
    from playwright.sync_api import Page

TOOLS = """
/** Makes a canvas of 300 by 100 pixels: 100 bars, red and, where played, blue. */
globalThis.made = async () => {
  const { Waveform } = await import("/page/waveform.js");
  const canvas = document.body.appendChild(document.createElement("canvas"));
  Object.assign(canvas.style, { display: "block", width: "300px", height: "100px" });
  document.body.style.margin = "0";
  document.body.style.setProperty("--wave", "red");
  document.body.style.setProperty("--wave-played", "blue");
  canvas.getContext("2d", { willReadFrequently: true });
  return { canvas, waveform: new Waveform(canvas) };
};

/** Waits until what was asked for is drawn. */
globalThis.drawn = async () => {
  for (let i = 0; i < 3; i += 1) {
    await new Promise(requestAnimationFrame);
  }
};

/** Returns the height, in CSS pixels, and the colour of each bar. */
globalThis.bars = (canvas) => {
  const context = canvas.getContext("2d");
  const found = [];
  for (let x = 1; x < 300; x += 3) {
    const column = context.getImageData(x * devicePixelRatio, 0, 1, canvas.height).data;
    let height = 0;
    let color = "";
    for (let i = 0; i < column.length; i += 4) {
      if (column[i + 3] > 128) {
        height += 1 / devicePixelRatio;
        color = column[i] > column[i + 2] ? "red" : "blue";
      }
    }
    found.push([Math.round(height), color]);
  }
  return found;
};
"""


@pytest.fixture
def page(blank_page: "Page") -> "Page":
    """Return a page with the tools above."""
    blank_page.evaluate(TOOLS + "0")
    return blank_page


def test_a_take_grows_and_fills_the_width_at_its_end(page: "Page") -> None:
    """As long as it comes, what is there stays where it is."""
    result = page.evaluate("""async () => {
      const { canvas, waveform } = await made();
      waveform.begin(1000);
      const counts = [];
      for (const amplitude of [0.5, 0.25, 1]) {
        waveform.append(new Float32Array(1000).fill(amplitude));
        await drawn();
        counts.push(bars(canvas).filter(([, color]) => color).length);
      }
      const growing = bars(canvas);
      waveform.finish();
      await drawn();
      return { counts, growing, done: bars(canvas), hidden: canvas.getAttribute("aria-hidden") };
    }""")
    assert result["counts"] == [20, 40, 60]
    assert {tuple(bar) for bar in result["growing"][1:18]} == {(50, "red")}
    heights = [height for height, _ in result["done"]]
    assert heights[5] == 50
    assert heights[50] == pytest.approx(25, abs=1)  # drawn about the middle of the canvas
    assert heights[95] == 100
    assert min(heights) > 0
    assert result["hidden"] == "true"


def test_it_shows_what_is_played(page: "Page") -> None:
    """From the left, in the other colour; and a place in it tells its second."""
    result = page.evaluate("""async () => {
      const { canvas, waveform } = await made();
      waveform.begin(1000);
      waveform.append(new Float32Array(4000).fill(0.5));
      const growing = [150, 299].map((x) => waveform.secondsAt(x));
      waveform.finish();
      waveform.positionS = 1;
      await drawn();
      const played = bars(canvas).filter(([, color]) => color === "blue").length;
      const seconds = [-5, 0, 150, 300, 900].map((x) => waveform.secondsAt(x));
      waveform.clear();
      await drawn();
      const left = bars(canvas).filter(([, color]) => color).length;
      return { growing, played, seconds, left, cleared: waveform.secondsAt(150) };
    }""")
    assert result["growing"] == [2.5, 4]
    assert result["played"] == 25
    assert result["seconds"] == [0, 0, 2, 4, 4]
    assert (result["left"], result["cleared"]) == (0, 0)


def test_no_peak_is_lost_in_an_hour(page: "Page") -> None:
    """One loud sample is seen, wherever it is, although little of the take is kept."""
    result = page.evaluate("""async () => {
      const { canvas, waveform } = await made();
      const { Peaks } = await import("/page/peaks.js");
      const peaks = new Peaks();
      waveform.begin(2000);
      const minute = new Float32Array(120000);
      for (let i = 0; i < 60; i += 1) {
        minute[60000] = i === 30 ? -0.5 : 0;
        waveform.append(minute);
        peaks.append(minute);
      }
      waveform.finish();
      await drawn();
      const tall = bars(canvas).flatMap(([height], i) => (height === 100 ? [i] : []));
      return { tall, nearby: peaks.between(30 * 120000, 31 * 120000), first: peaks.between(0, 1) };
    }""")
    assert result == {"tall": [50], "nearby": 0.5, "first": 0}


def test_it_follows_the_page(open_page: OpenPage, files: PageFiles) -> None:
    """Sharp on a fine screen; another width and the other colour scheme draw it anew."""
    page = open_page(files.url, device_scale_factor=2, color_scheme="light")
    page.evaluate(TOOLS + "0")
    assert page.evaluate("""async () => {
      globalThis.it = await made();
      document.documentElement.style.colorScheme = "light dark";
      document.body.style.setProperty("--wave", "light-dark(red, blue)");
      it.waveform.begin(1000);
      it.waveform.append(new Float32Array(1000).fill(0.5));
      it.waveform.finish();
      await drawn();
      return [it.canvas.width, it.canvas.height, ...bars(it.canvas)[50]];
    }""") == [600, 200, 100, "red"]
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("""async () => {
      await drawn();
      const [, color] = bars(it.canvas)[50];
      it.canvas.style.width = "150px";
      await drawn();
      return [color, it.canvas.width];
    }""") == ["blue", 300]
