"""The page's player: what is heard is the take, sample for sample, while it comes."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.page.chromium import LAN_HOST
from tests.page.complaints import Complaints
from tests.page.conftest import OpenPage
from tests.page.page_files import PageFiles

if TYPE_CHECKING:
    from playwright.sync_api import Page

TOOLS = (Path(__file__).parent / "tap.js").read_text()


@pytest.fixture
def page(blank_page: "Page") -> "Page":
    """Return a page with the tools above, on which somebody has clicked."""
    blank_page.evaluate(TOOLS + "0")
    blank_page.mouse.click(5, 5)
    return blank_page


@pytest.mark.parametrize("rate", [8000, 24000, 44100])
def test_a_take_that_comes_in_pieces_sounds_as_one(page: "Page", rate: int) -> None:
    """Every sample is heard once and unchanged; time is told with a frame at the most."""
    result = page.evaluate(
        """async (rate) => {
          const { player, blocks } = await started(rate);
          let ticks = 0;
          let frames = 0;
          player.addEventListener("time", () => (ticks += 1));
          const count = () => {
            frames += 1;
            requestAnimationFrame(count);
          };
          count();
          const take = noise(Math.round(0.7 * rate));
          const sizes = [0.31, 0.04, 0.013, 0.1, 0.001, 0.136];
          let start = 0;
          for (const size of sizes) {
            const end = start + Math.round(size * rate);
            player.append(take.subarray(start, end));
            start = end;
            await sleep(0.02);
          }
          player.append(take.subarray(start));
          player.finish();
          await until(() => player.hasEnded);
          await sleep(0.1);
          const found = sounds(blocks);
          return { num: found.length, difference: difference(found[0][1], take), ticks, frames };
        }""",
        rate,
    )
    assert (result["num"], result["difference"]) == (1, -1)
    assert 0 < result["ticks"] <= result["frames"]


def test_pieces_do_not_overlap_where_the_page_was_held_up(page: "Page") -> None:
    """If it hands over the first piece too late, it hands over all again, later."""
    result = page.evaluate("""async () => {
      const { player, blocks } = await started();
      const take = noise(36000);
      const { start } = AudioBufferSourceNode.prototype;
      let calls = 0;
      AudioBufferSourceNode.prototype.start = function (...args) {
        calls += 1;
        const untilMs = performance.now() + (calls === 1 ? 200 : 0);
        while (performance.now() < untilMs) {
          // as another task of the page would
        }
        return start.apply(this, args);
      };
      player.append(take);
      player.finish();
      await until(() => player.hasEnded);
      await sleep(0.1);
      const heard = sounds(blocks).at(-1)[1];
      return [calls, difference(heard.slice(-36000), take)];
    }""")
    assert result == [4, -1]


@pytest.mark.slow
def test_a_hidden_tab_plays_on(page: "Page") -> None:
    """Nothing is painted and few pieces are handed over at a time; still there is no gap."""
    result = page.evaluate("""async () => {
      globalThis.requestAnimationFrame = () => 0;
      const { player, blocks } = await started(8000);
      let ticks = 0;
      player.addEventListener("time", () => (ticks += 1));
      const take = noise(36000);
      // More comes again and again while time is told.
      player.append(take.subarray(0, 8400));
      for (let start = 8400; start < 36000; start += 1200) {
        player.append(take.subarray(start, start + 1200));
        await sleep(0.05);
      }
      player.finish();
      const early = ticks;
      await until(() => player.hasEnded);
      await sleep(0.1);
      const [[, heard]] = sounds(blocks);
      return { difference: difference(heard, take), early, ticks };
    }""")
    assert result["difference"] == -1
    assert result["early"] >= 3
    assert 10 <= result["ticks"] <= 40


def test_a_take_that_runs_dry_waits_and_goes_on(page: "Page") -> None:
    """The clock stands still in between; where it broke off and goes on it is faded, not cut."""
    result = page.evaluate("""async () => {
      const { player, blocks } = await started();
      const states = [];
      player.addEventListener("state", () => {
        states.push(player.isWaiting ? "waits" : player.isPlaying ? "plays" : "stands");
      });
      const take = noise(0.7 * 24000);
      player.append(take.subarray(0, 6000));
      await until(() => player.isWaiting);
      const positions = [player.positionS];
      await sleep(0.1);
      positions.push(player.positionS);
      player.append(take.subarray(6000, 9000)); // less than it wants after that
      positions.push(player.positionS);
      const stillWaits = player.isWaiting;
      player.append(take.subarray(9000, 15000));
      player.append(take.subarray(15000));
      player.finish();
      await until(() => player.hasEnded);
      positions.push(player.positionS);
      await sleep(0.1);
      const found = sounds(blocks).filter(([, each]) => each.length > 100);
      return {
        states: states.filter((each, i) => each !== states[i - 1]),
        positions,
        stillWaits,
        num: found.length,
        gapS: (found[1][0] - found[0][0] - found[0][1].length) / 24000,
        before: difference(found[0][1], take, 0, 5900),
        after: difference(found[1][1].slice(-10600), take.slice(-10600)),
        last: found[0][1].at(-1),
        first: found[1][1][0],
      };
    }""")
    assert result["states"] == ["plays", "waits", "plays", "stands"]
    assert result["positions"] == [0.25, 0.25, 0.25, 0.7]
    assert result["stillWaits"]
    assert result["num"] == 2
    assert result["gapS"] > 0.1
    assert (result["before"], result["after"]) == (-1, -1)
    assert result["last"] < 0.02
    assert result["first"] < 0.02


def test_a_pause_keeps_the_place(page: "Page") -> None:
    """What was heard before it and what is heard after it make up the take."""
    result = page.evaluate("""async () => {
      const { player, blocks } = await started();
      const take = noise(24000);
      player.append(take);
      player.finish();
      await until(() => player.positionS > 0.3);
      player.pause();
      const paused = [player.positionS];
      await sleep(0.2);
      paused.push(player.positionS);
      const isPlaying = player.isPlaying;
      player.play();
      await until(() => player.hasEnded);
      await sleep(0.1);
      const [[, before], [, after]] = sounds(blocks).filter(([, each]) => each.length > 100);
      const start = Math.round(24000 * paused[0]);
      return {
        paused,
        isPlaying,
        before: difference(before, take, 0, start),
        after: difference(after, take.slice(-after.length), 200),
        start: 24000 - after.length - start,
      };
    }""")
    assert result["paused"][0] == result["paused"][1]
    assert 0.3 < result["paused"][0] < 0.6
    assert not result["isPlaying"]
    assert (result["before"], result["after"]) == (-1, -1)
    assert result["start"] in {0, 1}  # the first sample is faded to nothing


def test_one_seeks_while_it_comes(page: "Page") -> None:
    """Any place that is there can be gone to; what lies further on is waited for."""
    result = page.evaluate("""async () => {
      const { player, blocks } = await started();
      const take = noise(36000);
      player.append(take.subarray(0, 24000));
      await until(() => player.positionS > 0.1);
      player.seek(0.8);
      const places = [player.positionS];
      await until(() => player.positionS > 0.85);
      player.seek(9);
      places.push(player.positionS);
      const waits = player.isWaiting;
      player.append(take.subarray(24000));
      player.finish();
      player.seek(-1);
      places.push(player.positionS);
      await until(() => player.positionS > 0.1);
      player.seek(1.3);
      await until(() => player.hasEnded);
      await sleep(0.1);
      const found = sounds(blocks).filter(([, each]) => each.length > 100);
      const heard = found.at(-1)[1].slice(-4600);
      return { places, waits, last: difference(heard, take.slice(-4600)) };
    }""")
    assert result == {"places": [0.8, 1, 0], "waits": True, "last": -1}


def test_it_is_played_again(page: "Page") -> None:
    """At the end `play` starts over; a seek from there does not make it play."""
    result = page.evaluate("""async () => {
      const { player, blocks } = await started();
      const take = noise(6000);
      player.append(take);
      player.finish();
      await until(() => player.hasEnded);
      player.seek(0.1);
      const sought = [player.hasEnded, player.isPlaying, player.positionS];
      player.seek(1);
      player.play();
      await until(() => player.hasEnded);
      await sleep(0.1);
      const found = sounds(blocks).map(([, each]) => difference(each, take));
      player.clear();
      return { sought, found, cleared: [player.receivedS, player.positionS, player.hasEnded] };
    }""")
    assert result["sought"] == [False, False, 0.1]
    assert result["found"] == [-1, -1]
    assert result["cleared"] == [0, 0, False]


def test_a_take_that_fails_is_played_as_far_as_it_came(page: "Page") -> None:
    """Also one of which nothing came ends, so nobody waits for it."""
    result = page.evaluate("""async () => {
      const { player } = await started();
      player.append(noise(4800));
      player.fail();
      await until(() => player.hasEnded);
      const states = [[player.positionS, player.hasFailed]];
      player.begin(24000);
      states.push([player.isWaiting, player.hasFailed]);
      player.fail();
      return [...states, [player.isPlaying, player.hasEnded]];
    }""")
    assert result == [[0.2, True], [True, False], [False, True]]


def test_the_place_is_what_is_heard(page: "Page") -> None:
    """What is on its way to the loudspeaker counts as not yet heard; nor is the end reached."""
    result = page.evaluate("""async () => {
      Object.defineProperty(AudioContext.prototype, "outputLatency", { get: () => 0.3 });
      const { player, context } = await started();
      player.append(noise(9600));
      player.finish();
      const startS = context.currentTime;
      await until(() => player.positionS > 0);
      const latencyS = context.currentTime - startS;
      await until(() => player.hasEnded);
      return { latencyS, endS: context.currentTime - startS };
    }""")
    assert 0.3 < result["latencyS"] < 0.6
    assert 0.7 < result["endS"] < 1


def test_an_hour_is_light(page: "Page") -> None:
    """Few pieces of it are handed over at a time, wherever one goes to in it."""
    result = page.evaluate("""async () => {
      let num = 0;
      const { createBufferSource } = AudioContext.prototype;
      AudioContext.prototype.createBufferSource = function () {
        num += 1;
        return createBufferSource.call(this);
      };
      const { player } = await started(8000);
      const minute = noise(480000);
      for (let i = 0; i < 60; i += 1) {
        player.append(minute);
      }
      player.finish();
      const nums = [num];
      player.seek(3500);
      nums.push(num);
      await until(() => player.positionS > 3500.1);
      player.pause();
      return { nums, receivedS: player.receivedS };
    }""")
    assert result["receivedS"] == 3600
    assert max(result["nums"]) <= 40  # ten, unless the machine is so busy that some are too late


def test_its_volume_is_set(page: "Page") -> None:
    """Before a take and while it sounds."""
    result = page.evaluate("""async () => {
      const { player, blocks } = await started();
      player.append(noise(24000));
      player.finish();
      player.volume = 7;
      const volumes = [player.volume];
      await until(() => player.positionS > 0.1);
      player.volume = 0;
      await until(() => player.hasEnded);
      await sleep(0.1);
      return { volumes, last: Math.max(...blocks.slice(-3600)) };
    }""")
    assert result["volumes"] == [1]
    assert result["last"] < 1e-3


def test_a_browser_that_wants_a_click_is_told_from_one_that_plays(
    blank_page: "Page", complaints: Complaints
) -> None:
    """A take that nobody clicked for is blocked; a click that calls `play` lets it sound."""
    complaints.expect("not allowed to start")
    lines: list[str] = []
    blank_page.on("console", lambda message: lines.append(message.text))
    blank_page.add_init_script("""addEventListener("load", async () => {
      const { Player } = await import("/page/player.js");
      const player = new Player();
      player.addEventListener("state", () => {
        console.log([player.isBlocked, player.hasEnded].join());
      });
      document.body.style.height = "100px";
      document.body.onclick = () => player.play();
      player.begin(24000);
      player.append(new Float32Array(4800).fill(0.1));
      player.finish();
    })""")
    with blank_page.expect_console_message(lambda message: message.text == "true,false"):
        blank_page.reload()
    assert "false,true" not in lines
    with blank_page.expect_console_message(lambda message: message.text == "false,true"):
        blank_page.mouse.click(50, 50)


def test_it_goes_on_after_an_interruption(page: "Page") -> None:
    """A call or another device halts the context; no click is needed if the browser wants none."""
    result = page.evaluate("""async () => {
      const { player, context, blocks } = await started();
      const take = noise(12000);
      player.append(take);
      player.finish();
      await until(() => player.positionS > 0.1);
      await context.suspend();
      await until(() => player.hasEnded);
      await sleep(0.1);
      return [player.isBlocked, difference(sounds(blocks)[0][1], take)];
    }""")
    assert result == [False, -1]


def test_it_plays_over_plain_http_in_a_network(open_page: OpenPage, files: PageFiles) -> None:
    """Nothing of it needs a secure context."""
    page = open_page(files.url.replace("127.0.0.1", LAN_HOST))
    page.mouse.click(5, 5)
    page.evaluate("""async () => {
      const { Player } = await import("/page/player.js");
      globalThis.player = new Player();
      player.begin(24000);
      player.append(new Float32Array(2400).fill(0.1));
      player.finish();
    }""")
    page.wait_for_function("() => player.hasEnded && player.positionS === 0.1")
