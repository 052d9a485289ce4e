"""The whole HTTP server on loopback, within this process, over a service without a model."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import uvicorn

from higgs_worker.api.voice_spec import VoiceSpec
from higgs_worker.http.app import create_app, with_cors
from higgs_worker.http.gate import Gate
from higgs_worker.http.patience import Patience
from higgs_worker.http.readiness import Readiness, State
from higgs_worker.http.server import web_server
from higgs_worker.settings import Settings
from higgs_worker.voices.actions import Actions
from higgs_worker.voices.library import PRESETS, VoiceLibrary
from tests.fakes.library import WAV
from tests.fakes.speeches import FixedService, responder


class AnyRecording:
    """References that save every recording as the same one, without listening."""

    def __init__(self, library: VoiceLibrary) -> None:
        self._library = library

    def save(self, name: str, voice: VoiceSpec, *, replace: bool, **told: Any) -> Any:
        """Save a voice."""
        info = self._library.add(name, WAV, voice.text or "", replace=replace, **told)
        return SimpleNamespace(info=info, warnings=())


@dataclass
class HttpServer:
    """The server, and a client of it."""

    port: int
    gate: Gate
    readiness: Readiness
    uvicorn: uvicorn.Server
    client: httpx2.AsyncClient

    @property
    def num_connections(self) -> int:
        """Connections that are open, websockets included."""
        return len(self.uvicorn.server_state.connections)

    async def exchange(self, *parts: bytes, timeout_s: float = 5.0) -> bytes:
        """Send bytes and return all that comes until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        async with asyncio.timeout(timeout_s):
            for part in parts:
                writer.write(part)
                await writer.drain()
            reply = await reader.read()
        writer.close()
        return reply

    async def until(self, **expected: int) -> None:
        """Wait until figures of this class or of the gate are so."""
        async with asyncio.timeout(5):
            while any(self._figure(name) != value for name, value in expected.items()):
                await asyncio.sleep(0.002)

    def _figure(self, name: str) -> int:
        return int(getattr(self if hasattr(self, name) else self.gate, name))


@asynccontextmanager
async def serving_http(
    volume: Path,
    service: Any = None,
    *,
    patience: Patience | None = None,
    **settings: str,
) -> AsyncIterator[HttpServer]:
    """Serve a service, by default the fixed one, as the production server does.

    Args:
        volume: a directory for the voices.
        service: speaks.
        patience: how slow clients may be.
        settings: environment variables.
    """
    patience = patience or Patience()
    answers = responder(service or FixedService())
    library = VoiceLibrary(volume / "voices", presets=PRESETS)
    references: Any = AnyRecording(library)
    answers = replace(answers, actions=Actions(library, lambda: references, model="fixed"))
    own = Settings.from_env({"HIGGS_MODEL": "demo", "HIGGS_VOLUME": str(volume), **settings})
    readiness = Readiness(answers.service, on_broken=lambda: None)
    gate = create_app(answers, readiness, own, patience)
    server = web_server(with_cors(gate, own), 100_000, patience)
    server.config.port = 0
    running = asyncio.create_task(server.serve())
    await readiness.run()
    assert readiness.state is State.READY
    while not server.started:
        await asyncio.sleep(0.001)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=10) as client:
            yield HttpServer(port, gate, readiness, server, client)
    finally:
        server.should_exit = True
        await running
