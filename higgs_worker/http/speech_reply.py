"""A speech as the body of a reply: packets, or server-sent events that carry them.

Nothing is sent before there is sound, so that whatever fails until then has a status of its own.
What fails later cuts the connection, or is an event: no client takes half a speech for a whole one.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from higgs_worker.api.openai import OpenAISpeech
from higgs_worker.api.output import to_segments
from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import SegmentUpdate
from higgs_worker.audio.encode import MIME_TYPES, encoded_rate
from higgs_worker.delivery.budget import to_base64
from higgs_worker.delivery.encoding import needs_whole
from higgs_worker.delivery.pieces import PieceQueue
from higgs_worker.delivery.responder import Responder
from higgs_worker.delivery.sink import SpeechSource
from higgs_worker.errors import InvalidRequest
from higgs_worker.http.error_reply import error_body, error_reply
from higgs_worker.http.gate import MAX_PART_BYTES, Scope, Send
from higgs_worker.http.request_body import Receive


class SpeechReply(Response):
    """The reply to one request to speak; an ASGI application."""

    def __init__(
        self, responder: Responder, body: OpenAISpeech, request_id: str, started: float
    ) -> None:
        super().__init__()
        self._responder, self._body = responder, body
        self._id, self._started = request_id, started
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak, and send what is spoken."""
        try:
            async with self._responder.deadlines.limit():
                output = await self._speak(send)
                if self._body.is_sse:
                    await _send_part(send, _event(_done(output)))
        except Exception as error:
            failure = self._responder.to_error(self._id, error, self._started)
            if not self._has_begun:
                await error_reply(failure)(scope, receive, send)
                return
            if not self._body.is_sse:
                return  # the server sees a body without an end, and cuts the connection
            await _send_part(send, _event({"error": error_body(failure)}, "error"))
        await send({"type": "http.response.body", "body": b""})

    async def _speak(self, send: Send) -> dict[str, Any]:
        """Send the audio and return what a job's output would be, apart from that."""
        request = await self._responder.to_request(self._body)
        if request.output == "base64":
            raise InvalidRequest(
                "output base64 is not for this route, whose body is the audio; leave it out, or "
                "send the request to /v1/speech",
                details={"errors": [{"field": "output", "message": "must be auto or s3"}]},
            )
        key = await self._responder.delivery.choose_key(self._id, request, None)
        speech = await self._responder.service.start(request, is_live=not needs_whole(request))
        queue = PieceQueue(MAX_PART_BYTES, min_piece_s=0.0)
        speaking = asyncio.create_task(self._fill(queue, speech, key))
        try:
            while packet := await queue.take():
                if not self._has_begun:
                    head = self._head(request, speech)
                    self._has_begun = True
                    await send({"type": "http.response.start", "status": 200, "headers": head})
                if self._body.is_sse:
                    packet = _delta(packet, speech.take_segments())
                await _send_part(send, packet)
            output = await speaking
            if self._body.is_sse and (last := speech.take_segments()):
                # The end of the last sentence is known when all its sound has been sent.
                await _send_part(send, _delta(b"", last))
            return output
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)

    async def _fill(
        self, queue: PieceQueue, speech: SpeechSource, key: str | None
    ) -> dict[str, Any]:
        """Fill a queue with the audio, and end it, whatever happens."""
        try:
            if needs_whole(speech.request):
                file, output = await self._responder.speak_file(speech, self._started)
                await queue.put(file.data, 0.0)
            else:
                output, _ = await self._responder.speak_pieces(
                    self._id, speech, queue, key, self._started, tells_head=False
                )
            return output
        finally:
            await queue.close()

    def _head(self, request: SpeechRequest, speech: SpeechSource) -> list[tuple[bytes, bytes]]:
        """Return the headers of the reply, once there is sound; its encoder has imported PyAV."""
        headers = {
            "content-type": MIME_TYPES[request.format],
            "cache-control": "no-store",
            "x-higgs-seed": str(speech.seed),
            "x-higgs-sample-rate": str(encoded_rate(request.format, request.audio_rate)),
            "x-higgs-model": speech.model.id,
            "x-higgs-model-revision": speech.model.revision or "",
        }
        if self._body.is_sse:
            # Proxies that gather replies (nginx) would hold the events back.
            headers |= {"content-type": "text/event-stream", "x-accel-buffering": "no"}
        return [(name.encode(), text.encode("latin-1")) for name, text in headers.items()]


async def _send_part(send: Send, part: bytes) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": True})


def _delta(audio: bytes, updates: Sequence[SegmentUpdate]) -> bytes:
    delta = {"type": "speech.audio.delta", "audio": to_base64(audio)}
    return _event(delta | {"segments": to_segments(updates)} if updates else delta)


def _event(data: dict[str, Any], name: str | None = None) -> bytes:
    line = "" if name is None else f"event: {name}\n"
    return f"{line}data: {json.dumps(data)}\n\n".encode()


def _done(output: dict[str, Any]) -> dict[str, Any]:
    """Return the last event: OpenAI's usage, and the rest of a job's output."""
    usage = output["usage"]
    num_in, num_out = usage["text_tokens"], usage["audio_frames"]
    told = {key: output[key] for key in ("segments", "seed", "finish_reason", "warnings", "timing")}
    tokens = {"input_tokens": num_in, "output_tokens": num_out, "total_tokens": num_in + num_out}
    return {"type": "speech.audio.done", "usage": tokens, **told}
