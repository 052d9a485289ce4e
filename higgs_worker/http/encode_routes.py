"""The route that makes a file of raw PCM: a download in another format, without speaking again."""

import asyncio

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from higgs_worker.api.encode_query import EncodeOptions, parse_encode_query
from higgs_worker.api.field_errors import wrong_field
from higgs_worker.audio.encode import MIME_TYPES, encoded_rate
from higgs_worker.delivery.encoding import FileWriter
from higgs_worker.delivery.file import MemoryTarget
from higgs_worker.delivery.responder import Responder
from higgs_worker.http import openapi

MAX_AT_ONCE = 2
"""Files that are encoded at the same time. Each takes a core, and those who listen come first."""
SLICE_S = 5.0
"""PCM that is encoded in one go, a tenth of a second of work: so soon it ends when nobody waits."""
_SAMPLE_BYTES = 2
_FULL_SCALE = np.float32(32767)
"""As the encoders have it, so that samples come back as they are."""


class PcmEncoding:
    """Encodes raw PCM beside the event loop, a few files at once."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(MAX_AT_ONCE)

    async def encode(self, raw: bytes, options: EncodeOptions) -> bytes:
        """Return the file; whoever cancels this waits for no more than a slice.

        Args:
            raw: 16-bit little-endian samples, mono.
            options: which file is wanted.
        """
        step = round(SLICE_S * options.sample_rate)
        samples = np.frombuffer(raw, "<i2")
        writer, target = FileWriter(options.request, options.sample_rate), MemoryTarget()
        async with self._free:
            for start in range(0, len(samples), step):
                pcm = samples[start : start + step].astype(np.float32) / _FULL_SCALE
                target.feed(await asyncio.to_thread(writer.feed, pcm))
            rest, head = await asyncio.to_thread(writer.finish)
        target.finish(rest, head=head)
        return target.data


def encode_router(responder: Responder) -> APIRouter:
    """Return the route; its failures and successes are counted by a responder."""
    router = APIRouter(tags=["speech"])
    encoding = PcmEncoding()

    @router.post("/v1/audio/encode", **openapi.encode())
    async def encode(request: Request) -> Response:
        """Make a file of raw PCM, as `/v1/audio/speech` sends it with the format pcm."""
        options = parse_encode_query(request.query_params.multi_items())
        raw = await request.body()
        _check(raw)
        async with responder.deadlines.limit():
            file = await encoding.encode(raw, options)
        responder.count_success()
        format, rate = options.request.format, options.request.audio_rate
        headers = {
            "content-disposition": f'attachment; filename="speech.{format}"',
            "cache-control": "no-store",
            "x-higgs-sample-rate": str(encoded_rate(format, rate)),
        }
        return Response(file, media_type=MIME_TYPES[format], headers=headers)

    return router


def _check(raw: bytes) -> None:
    if not raw:
        raise wrong_field("body", "is empty; send 16-bit little-endian samples, mono")
    if len(raw) % _SAMPLE_BYTES:
        raise wrong_field(
            "body",
            f"has {len(raw)} bytes, and a sample has {_SAMPLE_BYTES}; send 16-bit little-endian "
            "samples, mono",
        )
