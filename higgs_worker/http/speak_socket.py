"""Deepgram's `speak` websocket: text in while it is written, audio out while it is spoken.

What cannot be served is refused before the websocket opens, with the reason in the header
`dg-error`, where Deepgram's clients look for it. A Speak that cannot be spoken gets a Warning, and
the conversation goes on; what is no message at all gets an Error and ends it, as at Deepgram.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from starlette.websockets import WebSocket, WebSocketDisconnect

from higgs_worker.api import speak_messages
from higgs_worker.api.speak_messages import (
    Clear,
    Close,
    Flush,
    KeepAlive,
    Message,
    RefusedSpeak,
    Speak,
    parse_message,
)
from higgs_worker.api.speak_query import SpeakOptions, parse_query
from higgs_worker.delivery.encoding import check_streamable
from higgs_worker.delivery.responder import Responder, elapsed
from higgs_worker.errors import InvalidRequest, QueueFull, WorkerError, WorkerStopping
from higgs_worker.http.conversation import Conversation
from higgs_worker.http.error_reply import socket_refusal

IDLE_S = 3600.0
"""Without a message. Deepgram's limit: clients keep a websocket for an hour, to use it again."""
MAX_WAITING_TEXTS = 10
"""Times the longest text that may be sent at once: how much text may wait to be spoken."""
_MAX_REASON_BYTES = 120  # a close frame holds 125, two of them the code

log = logging.getLogger(__name__)


_NORMAL, _NO_MESSAGE, _FAILURE, _RESTART, _NO_ROOM = 1000, 1008, 1011, 1012, 1013
"""Codes of RFC 6455 and of IANA's list."""
_CODES: Mapping[type[WorkerError], int] = {
    InvalidRequest: _NO_MESSAGE,
    WorkerStopping: _RESTART,
    QueueFull: _NO_ROOM,
}
"""By what ended a conversation; all else is a failure."""


class _Ending(NamedTuple):
    """How a websocket is closed."""

    code: int
    reason: str = ""


class SpeakSocket:
    """Serves the websockets of one worker."""

    def __init__(
        self,
        responder: Responder,
        *,
        max_text_chars: int,
        stopping: asyncio.Event,
        idle_s: float = IDLE_S,
    ) -> None:
        """
        Args:
            responder: has the service, voices and deadlines.
            max_text_chars: of the text of one Speak.
            stopping: set when the worker stops: what is being spoken is finished, no more begun.
            idle_s: how long a websocket may have nothing to do.
        """
        self._responder = responder
        self._max_text_chars = max_text_chars
        self._stopping = stopping
        self._idle_s = idle_s

    async def serve(self, websocket: WebSocket, request_id: str) -> None:
        """Hold one conversation, from before the websocket opens until it is closed.

        Args:
            websocket: not accepted yet; who may open one was asked before.
            request_id: what the conversation is called in the log.
        """
        started = time.perf_counter()
        try:
            options = await self._options(websocket)
        except WorkerError as error:
            failure = self._responder.to_error(request_id, error, started)
            await websocket.send_denial_response(socket_refusal(failure))
            return
        offered = websocket.scope.get("subprotocols") or []
        await websocket.accept(
            # A browser sends its key as a second subprotocol, and wants the first one back.
            offered[0] if len(offered) > 1 else None,
            headers=[(b"dg-request-id", request_id.encode("latin-1"))],
        )
        with suppress(WebSocketDisconnect):
            await self._converse(websocket, options, request_id, started)
        log.info("the websocket is closed", extra=elapsed(started))

    async def _options(self, websocket: WebSocket) -> SpeakOptions:
        if self._stopping.is_set():
            raise WorkerStopping("this worker is stopping; connect again, to another one")
        options = parse_query(websocket.query_params.multi_items())
        options = options.with_voice(
            await asyncio.to_thread(self._responder.actions.library.taken_names)
        )
        check_streamable(options.request)
        return options

    async def _converse(
        self, websocket: WebSocket, options: SpeakOptions, request_id: str, started: float
    ) -> None:
        one_at_a_time = asyncio.Lock()

        async def send(data: str | bytes) -> None:
            try:
                async with one_at_a_time:
                    if isinstance(data, bytes):
                        await websocket.send_bytes(data)
                    else:
                        await websocket.send_text(data)
            except Exception as error:  # each server and middleware has its own
                raise WebSocketDisconnect(1006) from error

        seed = options.request.seed
        conversation = Conversation(
            self._responder,
            options,
            send,
            name=request_id,
            max_waiting_chars=MAX_WAITING_TEXTS * self._max_text_chars,
            seed=secrets.randbelow(2**63) if seed is None else seed,
        )
        model = self._responder.actions.model
        await send(speak_messages.metadata(request_id, options.voice, model))
        tasks = [
            asyncio.create_task(self._listen(websocket, conversation)),
            asyncio.create_task(self._speak(conversation)),
            asyncio.create_task(self._watch(conversation)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        try:
            ending = done.pop().result()
        except WebSocketDisconnect:
            raise
        except Exception as error:
            failure = self._responder.to_error(request_id, error, started)
            await send(speak_messages.error(failure))
            found = (_CODES[each] for each in type(failure).__mro__ if each in _CODES)
            ending = _Ending(next(found, _FAILURE), failure.code)
        reason = ending.reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
        await websocket.close(ending.code, reason)

    async def _listen(self, websocket: WebSocket, conversation: Conversation) -> _Ending:
        """Do what the caller says, until there is nothing to do for long.

        Raises:
            InvalidRequest: what came is no message.
            WebSocketDisconnect: the caller is gone.
        """
        while True:
            try:
                async with asyncio.timeout(self._idle_s):
                    received = await websocket.receive()
            except TimeoutError:
                if conversation.is_idle:
                    return _Ending(_NORMAL, f"no message came for {self._idle_s:g} s")
                continue
            if received["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(received["code"])
            text = received.get("text")
            frame = received["bytes"] if text is None else text
            await _act(parse_message(frame, max_text_chars=self._max_text_chars), conversation)

    async def _speak(self, conversation: Conversation) -> _Ending:
        """Speak until there is no more to say."""
        await conversation.run()
        if self._stopping.is_set():
            return _Ending(_RESTART, "the worker stops")
        return _Ending(_NORMAL)

    async def _watch(self, conversation: Conversation) -> _Ending:
        """Wait until the worker stops; then let the conversation end by itself."""
        await self._stopping.wait()
        await conversation.warn(
            "this worker stops: what is being spoken is finished, and nothing else is begun; "
            "connect again for the rest",
            WorkerStopping.code,
        )
        conversation.finish_pieces()
        return await asyncio.Future()


async def _act(message: Message, conversation: Conversation) -> None:
    match message:
        case Speak(text):
            await conversation.speak(text)
        case RefusedSpeak(problem):
            await conversation.warn(problem, InvalidRequest.code)
        case Flush():
            await conversation.flush()
        case Clear():
            await conversation.clear()
        case Close():
            conversation.close()
        case KeepAlive():
            pass
