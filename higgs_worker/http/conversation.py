"""Speaks a text while it is written: pieces of it are generated ahead and heard in order.

While one piece is spoken, the next one is generated, and what is written meanwhile waits and comes
together. No more is under way: a piece is generated several times as fast as it is heard, and what
has not begun costs nothing when the listener interrupts. The conversation knows no websocket; it
sends audio and messages through a function that may wait, and waits with it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from higgs_worker.api import speak_messages
from higgs_worker.api.output import rounded
from higgs_worker.api.result import SpeechResult
from higgs_worker.api.speak_query import SpeakOptions
from higgs_worker.audio.pcm import PCM
from higgs_worker.delivery.encoding import PacketWriter
from higgs_worker.delivery.responder import Responder
from higgs_worker.delivery.sink import SpeechSource
from higgs_worker.errors import InvalidRequest, NoSound, PromptTooLong
from higgs_worker.speech.chunking import PAUSES_S
from higgs_worker.speech.seeds import ChunkSeeds
from higgs_worker.text.gatherer import Gatherer, Piece
from higgs_worker.text.split import border
from higgs_worker.text.words import is_speakable
from higgs_worker.voices.continuity import Continuity

NUM_AHEAD = 1
"""Pieces that are generated beside the one that is spoken."""
LEAD_S = 1.0
"""Sound that the listener still has when a clause is spoken for want of a whole sentence."""
MAX_FLUSHES = 100
"""That wait for their answer. A conversation has one or two."""
MAX_PACKET_S = 0.25
"""Of sound. Clients refuse messages of a megabyte, and so little is sent in vain after a Clear."""
_SPOILS_A_PIECE = (InvalidRequest, NoSound, PromptTooLong)
"""What is wrong with one text alone."""

Send = Callable[[str | bytes], Awaitable[None]]

log = logging.getLogger(__name__)


class TextEnd(Enum):
    """What ends a text."""

    FLUSH = auto()
    CLOSE = auto()


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A piece that is being generated, or why it is not."""

    piece: Piece[TextEnd]
    speech: SpeechSource | None = None
    error: Exception | None = None
    started: float = 0.0


class Conversation:
    """Speaks what comes, until it is closed. One task runs it, others may call."""

    def __init__(
        self,
        responder: Responder,
        options: SpeakOptions,
        send: Send,
        *,
        name: str,
        max_waiting_chars: int,
        seed: int,
    ) -> None:
        """Nothing has been said yet.

        Args:
            responder: has the service, deadlines and the log.
            options: voice, format and how to speak.
            send: takes messages as text and audio as bytes; may wait.
            name: what the conversation is called in the log.
            max_waiting_chars: of the text that was not begun yet.
            seed: of the first piece; those of the others follow from it.
        """
        self._responder = responder
        self._options = options
        self._send = send
        self._name = name
        self._max_waiting_chars = max_waiting_chars
        self._seed = seed
        self._gatherer: Gatherer[TextEnd] = Gatherer(options.request.language)
        self._continuity = Continuity()
        self._speaking: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        """Whether there may be another piece: text came, or a piece was spoken."""
        self._is_ending = False
        """Whether nothing is said any more but what came before."""
        self._is_over = False
        self._num_under_way = 0
        self._num_pieces = 0
        self._num_flushed = 0
        self._num_cleared = 0
        self._heard_until = 0.0
        """When a listener will have heard all that was sent, on the loop's clock."""
        self._packets: PacketWriter | None = None
        """Of the present text: one for all its pieces, so that nothing is heard where they meet."""
        self._last_text = ""
        """Of the piece that was spoken before, in the same text."""
        self._last_warnings: tuple[str, ...] = ()
        """Of the piece that was spoken before; what holds for all is told once."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being said."""
        return not self._num_under_way

    # --- what a listener may ask for -----------------------------------------------------------

    async def speak(self, text: str) -> None:
        """Say this after what came before."""
        if self._is_ending:
            return
        if self._gatherer.num_chars + len(text) > self._max_waiting_chars:
            await self.warn(
                f"more than {self._max_waiting_chars} characters wait to be spoken, so the last "
                "text was left out; send texts as they are written, or wait for Flushed",
                "text_buffer_full",
            )
            return
        self._gatherer.push(text)
        if text[-1:].isspace():
            # Models write spaces before words; whoever sends one behind a sentence, sends whole
            # sentences, and the next one may take its time.
            self._gatherer.settle()
        self._changed.set()

    async def flush(self) -> None:
        """Say all that came, then tell so."""
        if self._is_ending:
            return
        if self._gatherer.num_marks >= MAX_FLUSHES:
            await self.warn(
                f"{MAX_FLUSHES} flushes wait for their answer, so this one was left out; flush "
                "once, at the end of what is to be said",
                "too_many_flushes",
            )
            return
        self._gatherer.end(TextEnd.FLUSH)
        self._changed.set()

    async def clear(self) -> None:
        """Forget what was not said, stop the engine, then tell so."""
        self._gatherer.clear()
        if self._speaking is not None:
            await _stop(self._speaking)
        self._packets, self._last_text, self._heard_until = None, "", 0.0
        if self._is_ending:
            self._gatherer.end(TextEnd.CLOSE)
        self._num_cleared += 1
        await self._send(speak_messages.cleared(self._num_cleared - 1))

    def close(self) -> None:
        """Say all that came; then `run` returns."""
        if not self._is_ending:
            self._is_ending = True
            self._gatherer.end(TextEnd.CLOSE)
            self._changed.set()

    def finish_pieces(self) -> None:
        """Say what is under way, and nothing else; then `run` returns."""
        self._is_ending = True
        self._gatherer.clear()
        self._gatherer.end(TextEnd.CLOSE)
        self._changed.set()

    async def warn(self, sentence: str, code: str) -> None:
        """Tell that something is not as asked."""
        await self._send(speak_messages.warning(sentence, code))

    # --- how it is said ------------------------------------------------------------------------

    async def run(self) -> None:
        """Speak until `close` or `finish_pieces`, and what was said is sent.

        Raises:
            Exception: nothing more can be said, or sent.
        """
        while not self._is_over:
            self._speaking = asyncio.create_task(self._speak_until_cleared())
            try:
                await asyncio.wait([self._speaking])
            finally:
                await _stop(self._speaking)
            if not self._speaking.cancelled():
                self._speaking.result()

    async def _speak_until_cleared(self) -> None:
        prepared: asyncio.Queue[_Prepared] = asyncio.Queue()
        self._num_under_way = 0
        preparing = asyncio.create_task(self._prepare_pieces(prepared))
        try:
            while not self._is_over:
                await self._finish_piece(await prepared.get())
                self._num_under_way -= 1
                self._changed.set()
        finally:
            # All before the first wait, at which this may be ended once more.
            preparing.cancel()
            while not prepared.empty():
                if (speech := prepared.get_nowait().speech) is not None:
                    speech.cancel()
            await asyncio.wait([preparing])

    async def _prepare_pieces(self, prepared: "asyncio.Queue[_Prepared]") -> None:
        while True:
            piece = await self._next_piece()
            self._num_under_way += 1
            prepared.put_nowait(await self._prepare(piece))

    async def _next_piece(self) -> Piece[TextEnd]:
        """Wait until it is worth while to begin a piece, and return it."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            timeout_s = None
            if self._num_under_way <= self._num_ahead():
                lead_s = self._heard_until - loop.time()
                may_be_clause = not self._num_under_way and lead_s <= LEAD_S
                if piece := self._gatherer.take(may_be_clause=may_be_clause):
                    return piece
                if not self._num_under_way and lead_s > LEAD_S:
                    timeout_s = lead_s - LEAD_S
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()

    def _num_ahead(self) -> int:
        """Return how many pieces may be under way beside another one."""
        voice = self._options.request.voice
        # A voice in words is that of the first piece, which must have been spoken.
        is_found = voice is None or voice.description is None or bool(self._continuity.references)
        return NUM_AHEAD if is_found else 0

    async def _prepare(self, piece: Piece[TextEnd]) -> _Prepared:
        if not is_speakable(piece.text):
            return _Prepared(piece)
        started = time.perf_counter()
        seed = ChunkSeeds(self._seed, self._num_pieces).of_attempt(0)
        self._num_pieces += 1
        request = self._options.to_request(piece.text, language=self._gatherer.language, seed=seed)
        speech: SpeechSource | None = None
        try:
            async with self._responder.deadlines.limit():
                speech = await self._responder.service.start(request, continuity=self._continuity)
                await speech.prepare()
        except Exception as error:
            return _Prepared(piece, error=error, started=started)
        except asyncio.CancelledError:
            if speech is not None:
                speech.cancel()
            raise
        return _Prepared(piece, speech, started=started)

    async def _finish_piece(self, prepared: _Prepared) -> None:
        """Say a piece, and do what its mark says."""
        try:
            if prepared.error is not None:
                raise prepared.error
            if prepared.speech is not None:
                async with self._responder.deadlines.limit():
                    await self._say(prepared, prepared.speech)
        except _SPOILS_A_PIECE as error:
            self._responder.to_error(self._name, error, prepared.started)
            await self.warn(error.message, error.code)
        if prepared.piece.mark is not None:
            await self._end_text()
        if prepared.piece.mark is TextEnd.FLUSH:
            self._num_flushed += 1
            await self._send(speak_messages.flushed(self._num_flushed - 1))
        elif prepared.piece.mark is TextEnd.CLOSE:
            self._is_over = True

    async def _say(self, prepared: _Prepared, speech: SpeechSource) -> None:
        pause_s = PAUSES_S[border(self._last_text)] if self._last_text else 0.0
        async with aclosing(aiter(speech)) as pieces:
            async for pcm in pieces:
                if pause_s:
                    silence = np.zeros(round(pause_s * speech.sample_rate), np.float32)
                    pcm, pause_s = np.concatenate([silence, pcm]), 0.0
                await self._send_pcm(pcm, speech.sample_rate)
        self._last_text = prepared.piece.text
        result = speech.result()
        self._responder.count_success()
        self._log(result)
        told, self._last_warnings = self._last_warnings, result.warnings
        for sentence in result.warnings:
            if sentence not in told:
                await self.warn(sentence, "speech")

    async def _send_pcm(self, pcm: PCM, sample_rate: int) -> None:
        if self._packets is None:
            self._packets = PacketWriter(self._options.request, sample_rate)
        step = round(MAX_PACKET_S * sample_rate)
        for start in range(0, len(pcm), step):
            part = pcm[start : start + step]
            packet = await asyncio.to_thread(self._packets.feed, part)
            if packet:
                await self._send(packet)
            now = asyncio.get_running_loop().time()
            self._heard_until = (
                max(self._heard_until, now) + len(part) / sample_rate / self._options.request.speed
            )

    async def _end_text(self) -> None:
        """Send the end of a text's audio; the next text begins anew, without a pause."""
        packets, self._packets, self._last_text = self._packets, None, ""
        if packets is not None and (rest := await asyncio.to_thread(packets.finish)):
            await self._send(rest)

    def _log(self, result: SpeechResult) -> None:
        """Log the figures of a piece; the text itself is the caller's and stays out."""
        log.info(
            "spoke a piece",
            extra={
                "characters": result.usage.characters,
                "duration_s": rounded(result.duration_s),
                "first_audio_s": rounded(result.timing.first_audio_s),
                "rtf": rounded(result.timing.rtf),
            },
        )


async def _stop(task: asyncio.Task[None]) -> None:
    """Cancel a task, once: a second time would disturb what it does at its end. Wait for it."""
    if not task.cancelling():
        task.cancel()
    await asyncio.wait([task])
