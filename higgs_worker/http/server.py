"""Runs the HTTP application until it is told to stop, or nothing can be spoken any more."""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import uvicorn

from higgs_worker.api.speak_messages import max_message_chars
from higgs_worker.delivery.responder import Responder
from higgs_worker.http.app import create_app, create_health_app, with_cors
from higgs_worker.http.connection import PatientProtocol
from higgs_worker.http.gate import App
from higgs_worker.http.listening import listen
from higgs_worker.http.patience import Patience
from higgs_worker.http.readiness import Readiness
from higgs_worker.metrics.minute_log import MinuteLog
from higgs_worker.settings import Settings

MAX_HEAD_BYTES = 16_384
MAX_CONNECTIONS = 1000
"""Further ones get 503. Each open one takes some kilobytes."""
KEEP_ALIVE_S = 75
"""Longer than load balancers keep a connection, usually 60 s: otherwise a request may meet one that
is just being closed."""
PING_S = 20.0
"""How often a websocket's client is asked whether it is there, and how long it may take."""
FLUSH_S = 1.0
"""After the grace, for what was answered last to get out."""

log = logging.getLogger(__name__)


def serve(responder: Responder, settings: Settings) -> int:
    """Serve until a signal or a broken engine ends it; return the process's exit code.

    Args:
        responder: answers.
        settings: ports, limits, grace.

    Raises:
        InvalidSettings: a port cannot be listened on.
    """
    ports = list(dict.fromkeys([settings.port, settings.health_port or settings.port]))
    # What was imported stays; to look through it takes the garbage collector 0.1 s.
    gc.freeze()
    with MinuteLog(responder.metrics):
        sockets = listen(settings.host, ports, settings.early_ping)
        return asyncio.run(ServerRun(responder, settings).serve(sockets))


class ServerRun:
    """One run of the server; whoever cancels `serve` ends it without a grace."""

    def __init__(self, responder: Responder, settings: Settings) -> None:
        """
        Args:
            responder: answers.
            settings: ports, limits, grace.
        """
        self._settings = settings
        self._stopped = asyncio.Event()
        self._readiness = Readiness(responder.service, on_broken=self._stopped.set)
        self._responder = replace(responder, kind="http", on_broken=self._break_down)

    async def serve(self, sockets: list[socket.socket]) -> int:
        """Serve on a socket for requests, and perhaps one for health; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop, number)
        patience = Patience()
        gate = create_app(self._responder, self._readiness, self._settings, patience)
        apps = [with_cors(gate, self._settings)]
        if len(sockets) > 1:
            apps.append(create_health_app(self._responder, self._readiness))
        max_frame_bytes = max_message_chars(self._settings.max_text_chars)
        servers = [web_server(app, max_frame_bytes, patience) for app in apps]
        serving = [
            asyncio.create_task(server.serve([on]))
            for server, on in zip(servers, sockets, strict=True)
        ]
        loading = asyncio.create_task(self._readiness.run())
        log.info("listening", extra={"host": self._settings.host, "port": self._settings.port})
        try:
            await self._stopped.wait()
            is_lost = self._readiness.is_lost
            self._readiness.stop()
            self._responder.deadlines.stop(self._settings.grace_s)
            await gate.drain(self._settings.grace_s + FLUSH_S)
        finally:
            loading.cancel()
            for each in servers:
                each.should_exit = True
            await asyncio.gather(*serving, loading, return_exceptions=True)
        return 1 if is_lost else 0

    def stop(self, number: signal.Signals) -> None:
        """Take no more requests, and end when those that are under way have ended."""
        log.info("told to stop by %s; no more requests are taken", number.name)
        self._stopped.set()

    def _break_down(self) -> None:
        self._readiness.fail("the engine is broken; this process must be replaced")


class _QuietServer(uvicorn.Server):
    """uvicorn's server, which leaves signals to us: it would cut websockets at once."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def web_server(app: App, max_frame_bytes: int, patience: Patience) -> uvicorn.Server:
    """Return a server of an application, which ends when `should_exit` is set.

    Args:
        app: answers.
        max_frame_bytes: of a websocket's message.
        patience: how slow clients may be.
    """
    return _QuietServer(
        uvicorn.Config(
            app,
            http=partial(PatientProtocol, patience),  # type: ignore[arg-type]  # only called
            ws="websockets-sansio",
            ws_max_size=max_frame_bytes,
            ws_ping_interval=PING_S,
            ws_ping_timeout=PING_S,
            ws_per_message_deflate=False,  # sound does not get smaller
            lifespan="off",
            loop="asyncio",
            log_config=None,
            # The gate says what matters. uvicorn has an error for each handshake that is refused.
            log_level="critical",
            access_log=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=round(FLUSH_S),
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
    )
