"""Other work that goes on while something is measured."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def beside(work: Iterable[Coroutine[Any, Any, None]], settle_s: float) -> AsyncIterator[None]:
    """Run work beside the body, and end it then; raise what went wrong in it.

    Args:
        work: goes on until it is cancelled.
        settle_s: until all of it is under way; the body waits so long.
    """
    running = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.sleep(settle_s)
        yield
    finally:
        for task in running:
            task.cancel()
        ended = await asyncio.gather(*running, return_exceptions=True)
    for each in ended:
        if isinstance(each, Exception):
            raise each
