"""Deepgram's websocket over a real connection: what comes in which order, and how it ends."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any, get_args

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from higgs_worker.api.request import Format
from higgs_worker.deadlines import Deadlines
from higgs_worker.errors import EngineBroken, EngineFailed
from tests.fakes.scripted_model import RATE, AskedText, ScriptedAttempt, code_of, pitches_in, says
from tests.fakes.speak_server import serving, serving_script
from tests.fakes.speeches import FixedService

ONE, TWO = "This is the first sentence. ", "Here is another one, a bit longer. "
PAUSE_BYTES = round(0.2 * RATE) * 2


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run an asynchronous test."""
    asyncio.run(test())


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def test_words_in_sound_out() -> None:
    """Metadata first, then each sentence's audio in order, a Flushed behind it, and a clean end."""

    async def test() -> None:
        async with serving_script() as served, served.talk("model=aura-2-thalia-en") as talk:
            assert talk.metadata["type"] == "Metadata"
            assert talk.metadata["model_name"] == "aura-2-thalia-en"
            assert talk.metadata["request_id"] == "request-1"
            assert talk.socket.response.headers["dg-request-id"] == "request-1"
            await talk.say(*ONE, "H")
            await talk.read_audio()
            await talk.say(*TWO[1:])
            await talk.send("Flush")
            assert (await talk.read())[1] == {"type": "Flushed", "sequence_id": 0}
            assert pitches_in(talk.pcm) == [code_of(ONE), code_of(TWO)]
            await talk.say(ONE)
            await talk.send("Flush", "Close")
            assert (await talk.read())[1]["sequence_id"] == 1
            assert await talk.end() == ([], 1000)
            voices = {line.setting.references[0].text for line in served.engine.lines}
            assert voices == {"This is clara."}

    run(test)


def test_it_speaks_before_the_text_is_complete() -> None:
    """A sentence once its end is sure, the first clause where nothing else is heard."""

    async def test() -> None:
        async with serving_script() as served, served.talk() as talk:
            await talk.say("Well, to tell you the truth, it")
            assert await talk.read_audio()
            await talk.say(" is not true. We")
            await talk.send("Close")
            await talk.end()
            texts = [line.text for line in served.engine.lines]
            assert texts == ["Well, to tell you the truth, ", "it is not true. We. "]

    run(test)


def test_whole_sentences_do_not_wait_for_the_next() -> None:
    """Who sends sentences with a space behind them, as Pipecat does, hears each at once."""

    async def test() -> None:
        async with serving_script() as served, served.talk() as talk:
            await talk.say(ONE)
            assert await talk.read_audio()

    run(test)


def test_the_next_piece_is_generated_ahead() -> None:
    """One beside the one that is spoken; what comes then waits, and comes together."""

    async def test() -> None:
        hold = asyncio.Event()
        async with serving_script(engine={"hold": hold}) as served, served.talk() as talk:
            sentences = [f"This is sentence number {each}. " for each in ("one", "two", "three")]
            await talk.say(sentences[0])
            await until(lambda: len(served.engine.lines) == 1)
            await talk.say(sentences[1])
            await until(lambda: len(served.engine.lines) == 2)
            await talk.say(sentences[2], sentences[2])
            await asyncio.sleep(0.05)
            assert len(served.engine.lines) == served.engine.most_live == 2
            hold.set()
            await talk.send("Close")
            assert await talk.end() == ([], 1000)
            assert served.engine.lines[2].text == "".join(sentences[2:] * 2)

    run(test)


def test_clear_stops_at_once() -> None:
    """The engine's sequences end, nothing old follows Cleared, and the conversation goes on."""

    async def test() -> None:
        hold = asyncio.Event()
        async with serving_script(engine={"hold": hold}) as served, served.talk() as talk:
            await talk.say(ONE, TWO)
            await talk.send("Flush")
            await talk.say("Something that is not begun. ")
            await talk.read_audio()
            await talk.send("Clear")
            assert (await talk.read())[1] == {"type": "Cleared", "sequence_id": 0}
            await until(lambda: served.engine.num_live == 0)
            assert served.engine.num_cancelled == len(served.engine.lines)
            hold.set()
            talk.audio.clear()
            await talk.say("And now to something else. ")
            await talk.send("Flush")
            assert (await talk.read())[1] == {"type": "Flushed", "sequence_id": 0}
            assert pitches_in(talk.pcm) == [code_of("And now to something else.")]
            await talk.send("Clear", "Clear")
            assert [(await talk.read())[1]["sequence_id"] for _ in range(2)] == [1, 2]

    run(test)


def test_flushes_are_answered_in_order() -> None:
    """Also those with nothing to say before them."""

    async def test() -> None:
        async with serving_script() as served, served.talk() as talk:
            await talk.send("Flush")
            await talk.say(" \n", "😀")
            await talk.send("Flush", "Flush")
            await talk.say("Yes.")
            await talk.send("Flush")
            heard = [await talk.read() for _ in range(4)]
            assert [message["sequence_id"] for _, message in heard] == [0, 1, 2, 3]
            assert [bool(num_bytes) for num_bytes, _ in heard] == [False, False, False, True]
            assert len(served.engine.lines) == 1

    run(test)


def test_the_voice_holds() -> None:
    """One in words is found once; each later piece is shown the first."""

    async def test() -> None:
        query = "description=An+old+man&seed=5"
        async with serving_script() as served, served.talk(query) as talk:
            for text in (ONE, TWO, ONE):
                await talk.say(text)
                await talk.send("Flush")
                await talk.read()
            await talk.say(ONE, TWO)
            await talk.send("Close")
            await talk.end()
            first, *later = served.engine.lines
            assert not first.setting.references
            assert {each.setting.references[0].text.strip() for each in later} == {ONE.strip()}
            assert {each.setting.profiles[0].voice for each in served.engine.lines} == {
                "An old man"
            }
            assert first.seed == 5
            assert len({each.seed for each in served.engine.lines}) == len(served.engine.lines)

    run(test)


def test_a_second_piece_waits_for_a_voice_in_words() -> None:
    """It could not take the voice of the first before that was spoken."""

    async def test() -> None:
        hold = asyncio.Event()
        async with (
            serving_script(engine={"hold": hold}) as served,
            served.talk("description=An+old+man") as talk,
        ):
            await talk.say(ONE)
            await until(lambda: len(served.engine.lines) == 1)
            await talk.say(TWO)
            await asyncio.sleep(0.05)
            assert len(served.engine.lines) == 1
            hold.set()
            await talk.send("Close")
            await talk.end()
            assert served.engine.lines[1].setting.references[0].text.strip() == ONE.strip()

    run(test)


@pytest.mark.parametrize("rate", [24000, 16000, 48000, 8000])
def test_pieces_join_without_a_click(rate: int) -> None:
    """A pause of natural length lies between them, at any sample rate, and nothing is lost."""

    async def test() -> None:
        async with serving_script() as served, served.talk(f"sample_rate={rate}") as talk:
            await talk.say(ONE)
            await until(lambda: len(served.engine.lines) == 1)
            await talk.say(TWO)
            await talk.send("Flush")
            await talk.read()
            assert len(served.engine.lines) == 2
            quiet = np.abs(talk.pcm) < 1e-3
            edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(int), [0]])))
            longest = max(edges[1::2] - edges[::2]) / rate
            assert longest == pytest.approx(0.2, abs=0.02)
            seconds = sum(len(says(text).codes) for text in (ONE, TWO)) / 25 + 0.2
            assert len(talk.pcm) / rate == pytest.approx(seconds, abs=0.002)

    run(test)


@pytest.mark.skipif("ulaw" not in get_args(Format), reason="needs the format ulaw")
@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
def test_telephony(encoding: str) -> None:
    """A byte for each sample, at 8 kHz unless another rate is asked for."""

    async def test() -> None:
        async with serving_script() as served, served.talk(f"encoding={encoding}") as talk:
            await talk.say(ONE)
            await talk.send("Flush")
            num_bytes = await talk.read_until("Flushed")
            assert num_bytes / 8000 == pytest.approx(len(says(ONE).codes) / 25, abs=0.002)

    run(test)


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        ({"type": "Speak"}, "without a text"),
        ({"type": "Speak", "text": 5}, "must be a string"),
        ({"type": "Speak", "text": "x" * 2001}, "at most 2000"),
        ({"type": "Speak", "text": "\ud800"}, "surrogate"),
    ],
)
def test_a_wrong_text_is_warned_of(frame: dict[str, Any], problem: str) -> None:
    """And left out; the conversation goes on."""

    async def test() -> None:
        async with serving_script() as served, served.talk() as talk:
            await talk.socket.send(json.dumps(frame))
            _, message = await talk.read()
            assert (message["type"], message["code"]) == ("Warning", "invalid_request")
            assert problem in message["description"]
            await talk.say(ONE)
            await talk.send("Flush")
            assert (await talk.read())[1]["type"] == "Flushed"

    run(test)


@pytest.mark.parametrize("frame", ['{"type":"Reset"}', "Hello", "[]", b"\x00\x01", "[" * 5000])
def test_what_is_no_message_ends_it(frame: str | bytes) -> None:
    """With an Error and code 1008, as at Deepgram."""

    async def test() -> None:
        async with serving_script() as served, served.talk() as talk:
            await talk.socket.send(frame)
            assert await talk.end() == (["Error"], 1008)

    run(test)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("model=nobody", "no voice is called 'nobody'"),
        ("token=hunter2", "header Authorization"),
        ("encoding=mp3", "linear16"),
        ("speed=9", "speed must be"),
        ("modle=a", "did you mean 'model'"),
    ],
)
def test_a_wrong_query_is_refused_before_it_opens(query: str, problem: str) -> None:
    """With the reason where Deepgram's clients look for it."""

    async def test() -> None:
        async with serving_script() as served:
            with pytest.raises(InvalidStatus) as refused:
                async with served.talk(query):
                    pass
            response = refused.value.response
            assert response.status_code == 400
            assert problem in response.headers["dg-error"]
            assert problem in json.loads(response.body)["err_msg"]

    run(test)


def test_the_key_may_be_a_subprotocol() -> None:
    """A browser, which offers two, is given the first one back."""

    async def test() -> None:
        async with (
            serving_script() as served,
            served.talk(subprotocols=["token", "a-key"]) as talk,
        ):
            assert talk.socket.subprotocol == "token"

    run(test)


@pytest.mark.parametrize("error", [EngineFailed("It failed."), EngineBroken("It broke.")])
def test_a_failure_ends_it(error: Any) -> None:
    """With our code; sound that came before was sent."""

    def fails(line: AskedText) -> ScriptedAttempt:
        performance = says(line.text)
        performance.error = error if "another" in line.text else None
        return performance

    async def test() -> None:
        async with serving_script(fails) as served, served.talk() as talk:
            await talk.say(ONE)
            assert await talk.read_audio()
            await talk.say(TWO)
            _, message = await talk.read()
            assert (message["type"], message["code"]) == ("Error", error.code)
            assert await talk.end() == ([], 1011)
            await until(lambda: served.engine.num_live == 0)

    run(test)


def test_a_defect_is_told_without_its_words() -> None:
    """The log has the frames; the caller learns where to look."""

    async def test() -> None:
        async with serving(FixedService(pcm=None)) as server, server.talk() as talk:  # type: ignore[arg-type]
            await talk.say(ONE)
            _, message = await talk.read()
            assert (message["type"], message["code"]) == ("Error", "internal_error")
            assert await talk.end() == ([], 1011)

    run(test)


def test_a_full_queue() -> None:
    """The first piece is refused; a conversation that has begun waits for its turn."""

    async def test() -> None:
        hold = asyncio.Event()
        engine = {"hold": hold, "num_slots": 1, "max_waiting": 0}
        async with serving_script(engine=engine) as served, served.talk() as talk:
            await talk.say(ONE)
            await talk.send("Flush")
            await until(lambda: served.engine.num_live == 1)
            async with served.talk() as other:
                await other.say(ONE)
                assert (await other.read())[1]["code"] == "queue_full"
                assert await other.end() == ([], 1013)
            await talk.say(TWO)
            await talk.send("Close")
            await asyncio.sleep(0.01)
            hold.set()
            assert await talk.end() == (["Flushed"], 1000)

    run(test)


def test_text_that_says_nothing_is_warned_of() -> None:
    """A piece that is wrong by itself ends nothing, and its Flush is answered."""

    async def test() -> None:
        async with serving_script() as served, served.talk() as talk:
            await talk.say("[pause 1s]")
            await talk.send("Flush")
            assert (await talk.read())[1]["code"] == "invalid_request"
            assert (await talk.read())[1]["type"] == "Flushed"

    run(test)


def test_a_caller_who_leaves_stops_the_engine() -> None:
    """Without a word, in the midst of a text."""

    async def test() -> None:
        async with serving_script(engine={"hold": asyncio.Event()}) as served:
            async with served.talk() as talk:
                await talk.say(ONE)
                await until(lambda: served.engine.num_live == 1)
                await talk.say(TWO)
                await until(lambda: served.engine.num_live == 2)
                talk.socket.transport.abort()
            await until(lambda: served.engine.num_live == 0)
            assert served.engine.num_cancelled == 2

    run(test)


def test_a_stop_finishes_what_is_spoken() -> None:
    """A Warning, the rest of what is under way, and code 1012; no other websocket opens."""

    async def test() -> None:
        hold = asyncio.Event()
        async with serving_script(engine={"hold": hold}) as served, served.talk() as talk:
            await talk.say(ONE)
            await talk.read_audio()
            served.server.stopping.set()
            assert (await talk.read())[1]["code"] == "worker_stopping"
            await talk.say(TWO)
            await asyncio.sleep(0.02)
            hold.set()
            assert await talk.end() == ([], 1012)
            assert pitches_in(talk.pcm) == [code_of(ONE)]
            with pytest.raises(InvalidStatus) as refused:
                async with served.talk():
                    pass
            assert refused.value.response.status_code == 503

    run(test)


def test_a_stop_ends_what_takes_too_long() -> None:
    """The grace is over: what is under way is cancelled, and the caller told to come again."""

    async def test() -> None:
        deadlines, engine = Deadlines(), {"hold": asyncio.Event()}
        async with (
            serving_script(engine=engine, deadlines=deadlines) as served,
            served.talk() as talk,
        ):
            await talk.say(ONE)
            await talk.read_audio()
            deadlines.stop(0.05)
            served.server.stopping.set()
            assert await talk.end() == (["Warning", "Error"], 1012)
            await until(lambda: served.engine.num_live == 0)

    run(test)


def test_a_websocket_that_is_not_used_is_closed() -> None:
    """After a while without messages, and not while it speaks."""

    async def test() -> None:
        hold = asyncio.Event()
        async with (
            serving_script(engine={"hold": hold}, idle_s=0.05) as served,
            served.talk() as talk,
        ):
            await talk.say(ONE)
            await talk.read_audio()
            await asyncio.sleep(0.15)
            hold.set()
            assert await talk.end() == ([], 1000)
            assert pitches_in(talk.pcm) == [code_of(ONE)]

    run(test)


def test_too_much_is_warned_of() -> None:
    """Text that waits is bounded, and so are flushes; what is left out is told."""

    async def test() -> None:
        hold = asyncio.Event()
        async with (
            serving_script(engine={"hold": hold}, max_text_chars=100) as served,
            served.talk() as talk,
        ):
            for _ in range(50):
                await talk.say(TWO * 2)
            codes = set()
            await talk.send(*["Flush"] * 120)
            while len(codes) < 2:
                codes.add((await talk.read())[1]["code"])
            assert codes == {"text_buffer_full", "too_many_flushes"}
            await talk.send("Clear")
            await talk.read_until("Cleared")

    run(test)


def test_a_slow_reader_stops_only_itself() -> None:
    """Its sound waits, no more of its text is begun, and others are served meanwhile."""

    async def test() -> None:
        async with serving_script() as served, served.talk(max_queue=1) as slow:
            for n in range(300):  # more than the buffers of the system hold
                await slow.say(f"This is sentence number {n}, and it is a rather long one. " * 10)
            num_begun = 0
            while not num_begun or num_begun < len(served.engine.lines):  # until it stands still
                num_begun = len(served.engine.lines)
                await asyncio.sleep(0.5)
            async with served.talk() as talk:
                await talk.say(ONE)
                await talk.send("Close")
                assert await talk.end() == ([], 1000)
            assert len(served.engine.lines) <= num_begun + 2 < 300
            await slow.send("Clear")
            await slow.read_until("Cleared")
            assert served.engine.num_live == 0

    run(test)


def test_side_by_side() -> None:
    """Two conversations hear their own text each."""
    # Without a clause of its own: on a busy machine one is spoken while the rest is still to come.
    longer = "Here is another one and it is longer. "

    async def test() -> None:
        async with serving_script() as served, served.talk() as one, served.talk() as two:
            for first, second in zip(ONE, longer, strict=False):
                await one.say(first)
                await two.say(second)
            await one.send("Close")
            await two.say(longer[len(ONE) :])
            await two.send("Close")
            assert await one.end() == await two.end() == ([], 1000)
            assert pitches_in(one.pcm) == [code_of(ONE)]
            assert pitches_in(two.pcm) == [code_of(longer)]

    run(test)


@pytest.mark.slow
def test_any_messages_leave_the_server_as_it_was() -> None:
    """Hundreds of frames, good and bad, in any order, hanging up anywhere; then all is free."""

    async def test() -> None:
        random_ = random.Random(5)
        frames = [
            *(json.dumps({"type": kind}) for kind in ("Flush", "Clear", "Close", "KeepAlive", "X")),
            *(json.dumps({"type": "Speak", "text": text}) for text in (ONE, "a", " ", "3.", "。")),
            *(json.dumps({"type": "Speak", "text": text}) for text in (TWO * 9, "[laugh]", 5)),
            "{", b"\x00", "[]",
        ]  # fmt: skip
        weights = [4, 4, 1, 2, 0.3, 9, 9, 9, 9, 9, 3, 3, 2, 0.3, 0.3, 0.3]
        async with serving_script() as served:
            num_frames = 0
            while num_frames < 400:
                async with served.talk() as talk:
                    for frame in random_.choices(frames, weights, k=random_.randrange(1, 40)):
                        num_frames += 1
                        try:
                            await talk.socket.send(frame)
                            async with asyncio.timeout(random_.random() * 0.002):
                                await talk.socket.recv()
                        except TimeoutError:
                            pass
                        except ConnectionClosed:
                            break
                    if random_.random() < 0.5:
                        talk.socket.transport.abort()
            await until(lambda: served.engine.num_live == 0)
            async with served.talk() as talk:
                await talk.say(ONE)
                await talk.send("Close")
                assert await talk.end() == ([], 1000)
                assert pitches_in(talk.pcm) == [code_of(ONE)]

    run(test)
