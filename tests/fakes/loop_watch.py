"""A watch on an event loop: the longest time for which it could do nothing else."""

import asyncio
import time


class LoopWatch:
    """Runs in the loop that it watches, from its first question on.

    What others on this machine take does not count: of a gap in time, only as much as this process
    computed meanwhile.
    """

    def __init__(self) -> None:
        self._longest_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def longest_s(self) -> float:
        """Return the longest gap since the last question."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s

    async def _run(self) -> None:
        while True:
            started, computed = time.perf_counter(), time.process_time()
            await asyncio.sleep(0.001)
            gap_s = min(time.perf_counter() - started, time.process_time() - computed)
            self._longest_s = max(self._longest_s, gap_s)
