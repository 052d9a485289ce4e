"""The whole HTTP server on loopback, with a model by script; in this process or in one of its own.

    python -m tests.fakes.scripted_server serve

Everything but the model is the worker's own. What texts do is told by their first word, see
`perform`. In a process of its own, the model is loaded once somebody has written to the named pipe
`MODEL_PIPE`, if there is one.
"""

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from higgs_worker import logs
from higgs_worker.build import build_responder
from higgs_worker.delivery.responder import Service
from higgs_worker.errors import EngineBroken, EngineFailed
from higgs_worker.http.server import ServerRun, serve
from higgs_worker.settings import Settings
from higgs_worker.speech.model import LoadedModel
from higgs_worker.speech.service import SpeechService
from tests.fakes.scripted_model import (
    AskedText,
    ScriptedAttempt,
    ScriptedEngine,
    says,
    scripted_model,
)
from tests.fakes.speak_server import AnyVoice

PATIENCE_S = 10.0
SEND_BUFFER_BYTES = 1 << 16
"""Of a connection: the less the system takes, the sooner a slow reader is felt."""
SLOW_PAUSE_S = 0.02


def perform(line: AskedText) -> ScriptedAttempt:
    """Say a text as its first word tells; whatever that is, it is said too."""
    said = says(line.text)
    match re.findall(r"\w+", line.text.lower())[0]:
        case "slowly":
            return replace(said, pause_s=SLOW_PAUSE_S)
        case "never":  # within any test's time
            return ScriptedAttempt(said.codes, pause_s=3600.0)
        case "failing":
            return replace(said, pause_s=SLOW_PAUSE_S, error=EngineFailed("the device failed"))
        case "breaking":
            return replace(said, pause_s=SLOW_PAUSE_S, error=EngineBroken("the device is gone"))
    return said


class ScriptedServer:
    """The server, what stands behind it, and somebody who asks it."""

    def __init__(self, run: ServerRun, model: LoadedModel, addresses: list[str]) -> None:
        self.run = run
        self.engine: ScriptedEngine = model.engine  # type: ignore[assignment]
        self.addresses = addresses
        """Of the routes; of health alone, if that has a port of its own."""

    def client(self, *, receive_bytes: int | None = None, **how: Any) -> httpx.AsyncClient:
        """Return a client, perhaps one that lets little be sent ahead."""
        options = [] if receive_bytes is None else [_receive_buffer(receive_bytes)]
        transport = httpx.AsyncHTTPTransport(socket_options=options)
        url = self.addresses[0]
        return httpx.AsyncClient(base_url=url, transport=transport, timeout=PATIENCE_S, **how)

    async def counted(self, outcome: str) -> int:
        """Return how many requests had an outcome, by /metrics."""
        async with self.client() as client:
            text = (await client.get("/metrics")).text
        pattern = rf'^higgs_requests_total{{kind="http",outcome="{outcome}"}} (\d+)'
        found = re.search(pattern, text, re.MULTILINE)
        return int(found[1]) if found else 0


@asynccontextmanager
async def serving_http(
    script: Callable[[AskedText], ScriptedAttempt] = perform,
    *,
    engine: dict[str, Any] | None = None,
    service: Service | None = None,
    volume: Path = Path("/nonexistent"),
    **variables: str,
) -> AsyncIterator[ScriptedServer]:
    """Serve in this process.

    Args:
        script: how texts are said.
        engine: settings of the engine's stand-in.
        service: in place of one with that engine.
        volume: for voices.
        variables: of the server's environment.
    """
    settings = Settings.from_env({"HIGGS_MODEL": "demo", "HIGGS_VOLUME": str(volume), **variables})
    model: LoadedModel = replace(scripted_model(script, **(engine or {})), references=AnyVoice())  # type: ignore[arg-type]
    responder = build_responder(settings)
    speaks = service or SpeechService(lambda: model, metrics=responder.metrics)
    run = ServerRun(replace(responder, service=speaks), settings)
    sockets = [_listener() for _ in range(1 if settings.health_port is None else 2)]
    addresses = [f"http://127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    running = asyncio.create_task(run.serve(sockets))
    server = ScriptedServer(run, model, addresses)
    try:
        if service is None:
            async with server.client() as client, asyncio.timeout(PATIENCE_S):
                while (await client.get("/ping")).status_code != 200:
                    await asyncio.sleep(0.005)
            server.engine.lines.clear()
        yield server
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


def _listener() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    listener.setblocking(False)
    return listener


def _receive_buffer(num_bytes: int) -> tuple[int, int, int]:
    return (socket.SOL_SOCKET, socket.SO_RCVBUF, num_bytes)


def main() -> int:
    """Serve until told to stop."""
    settings = Settings.from_env()
    logs.setup(settings.log_level)
    responder = build_responder(settings)
    slots = settings.max_slots or 1
    model = replace(
        scripted_model(perform, num_slots=slots, max_waiting=settings.queue_size),
        references=AnyVoice(),
    )

    def load() -> LoadedModel:
        if pipe := os.environ.get("MODEL_PIPE"):
            Path(pipe).read_bytes()
        return model

    service = SpeechService(load, metrics=responder.metrics)
    return serve(replace(responder, service=service), settings)


if __name__ == "__main__":
    sys.exit(main())
