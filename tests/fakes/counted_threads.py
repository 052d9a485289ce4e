"""Threads for `asyncio.to_thread` that count what they are given, and may be held."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class CountedThreads(ThreadPoolExecutor):
    """A loop's default executor: `loop.set_default_executor(CountedThreads())`."""

    def __init__(self) -> None:
        super().__init__(max_workers=32)
        self.num_begun = 0
        self.num_running = 0
        self.most_running = 0
        self.free = threading.Event()
        """While it is not set, nothing ends that began."""
        self.free.set()
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Run a function, and count it."""
        return super().submit(self._run, fn, *args, **kwargs)

    def _run(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            self.num_begun += 1
            self.num_running += 1
            self.most_running = max(self.most_running, self.num_running)
        try:
            self.free.wait()
            return fn(*args, **kwargs)
        finally:
            with self._lock:
                self.num_running -= 1
