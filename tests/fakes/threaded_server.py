"""The whole HTTP server, in a thread of its own: for tests whose own thread must not run a loop."""

import asyncio
import threading
from pathlib import Path

from tests.fakes.http_server import serving_http
from tests.fakes.speeches import FixedService


class ThreadedServer:
    """Serves a fixed speech, and remembers the requests; a context manager."""

    def __init__(self, volume: Path, **settings: str) -> None:
        """
        Args:
            volume: a directory for the voices.
            settings: environment variables.
        """
        self.service = FixedService()
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(volume, settings))

    def __enter__(self) -> "ThreadedServer":
        self._thread.start()
        assert self._is_up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self, volume: Path, settings: dict[str, str]) -> None:
        self._loop.run_until_complete(self._serve(volume, settings))
        self._loop.close()

    async def _serve(self, volume: Path, settings: dict[str, str]) -> None:
        async with serving_http(volume, self.service, **settings) as server:
            self.url = f"http://127.0.0.1:{server.port}"
            self._is_up.set()
            await self._stop.wait()
