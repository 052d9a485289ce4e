"""A server that has Deepgram's websocket alone, on loopback, and somebody who talks to it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from higgs_worker.delivery.responder import Responder
from higgs_worker.http.speak_socket import SpeakSocket
from higgs_worker.speech.model import LoadedModel
from higgs_worker.speech.service import SpeechService
from higgs_worker.voices.library import PRESETS, VoiceLibrary
from higgs_worker.voices.references import Reference
from tests.fakes.scripted_model import ScriptedEngine, scripted_model
from tests.fakes.speeches import responder

PATIENCE_S = 10.0
"""For what comes at once."""


class AnyVoice:
    """References that know every name."""

    def resolve(self, voice: Any) -> Reference:
        """Return a recording."""
        return Reference(f"This is {voice.name}.", np.zeros((25, 8), np.int64))


@dataclass
class SpeakServer:
    """The server and what stands behind it."""

    url: str
    stopping: asyncio.Event
    responder: Responder

    @asynccontextmanager
    async def talk(self, query: str = "", **how: Any) -> AsyncIterator["Talk"]:
        """Open a websocket and read what opens it."""
        async with connect(f"{self.url}?{query}", proxy=None, **how) as socket:
            talk = Talk(socket)
            talk.metadata = (await talk.read())[1]
            yield talk


@dataclass
class Talk:
    """One conversation, from the caller's side."""

    socket: ClientConnection
    metadata: dict[str, Any] = field(default_factory=dict)
    audio: bytearray = field(default_factory=bytearray)

    async def say(self, *fragments: str) -> None:
        """Send texts."""
        for fragment in fragments:
            await self.send("Speak", text=fragment)

    async def send(self, *kinds: str, **fields: Any) -> None:
        """Send messages."""
        for kind in kinds:
            await self.socket.send(json.dumps({"type": kind, **fields}))

    async def read(self) -> tuple[int, dict[str, Any]]:
        """Read up to the next message; return how many bytes of audio came before, and it."""
        num_bytes = 0
        async with asyncio.timeout(PATIENCE_S):
            while True:
                frame = await self.socket.recv()
                if isinstance(frame, str):
                    return num_bytes, json.loads(frame)
                self.audio += frame
                num_bytes += len(frame)

    async def read_until(self, kind: str) -> int:
        """Read up to a message of a type; return how many bytes of audio came before."""
        num_bytes = 0
        while True:
            num, message = await self.read()
            num_bytes += num
            if message["type"] == kind:
                return num_bytes

    async def read_audio(self) -> int:
        """Wait for audio; return how many bytes came."""
        async with asyncio.timeout(PATIENCE_S):
            frame = await self.socket.recv()
        assert isinstance(frame, bytes), frame
        self.audio += frame
        return len(frame)

    async def end(self) -> tuple[list[str], int]:
        """Read until the server closes; return the types of what came, and the code."""
        kinds = []
        with suppress(ConnectionClosed):
            while True:
                kinds.append((await self.read())[1]["type"])
        assert self.socket.close_code is not None
        return kinds, self.socket.close_code

    @property
    def pcm(self) -> np.ndarray:
        """What came so far, as samples."""
        return np.frombuffer(self.audio, "<i2").astype(np.float32) / 32767


@asynccontextmanager
async def serving(service: Any, **how: Any) -> AsyncIterator[SpeakServer]:
    """Serve a service."""
    stopping = asyncio.Event()
    answers = responder(service)
    library = VoiceLibrary(Path("/nonexistent/voices"), presets=PRESETS)
    answers = replace(answers, actions=replace(answers.actions, library=library))
    if "deadlines" in how:
        answers = replace(answers, deadlines=how.pop("deadlines"))
    socket = SpeakSocket(answers, **{"max_text_chars": 2000, "stopping": stopping} | how)

    async def serve(websocket: WebSocket) -> None:
        await socket.serve(websocket, "request-1")

    app = Starlette(routes=[WebSocketRoute("/v1/speak", serve)])
    config = uvicorn.Config(
        app, port=0, ws="websockets-sansio", lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[method-assign]
    running = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.001)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield SpeakServer(f"ws://127.0.0.1:{port}/v1/speak", stopping, answers)
    finally:
        server.should_exit = True
        await running


@asynccontextmanager
async def serving_script(
    script: Any = None, *, engine: dict[str, Any] | None = None, **how: Any
) -> AsyncIterator[SimpleNamespace]:
    """Serve a scripted model, whose engine can be looked at."""
    model: LoadedModel = replace(scripted_model(script, **(engine or {})), references=AnyVoice())  # type: ignore[arg-type]
    async with serving(SpeechService(lambda: model), **how) as server:
        scripted: ScriptedEngine = model.engine  # type: ignore[assignment]
        yield SimpleNamespace(server=server, engine=scripted, talk=server.talk)
