"""The real SDK's faults, each looked at before and after its mend, in one process of their own.

    python -m tests.serverless.sdk_faults

The last line is a JSON object: by mend, what was seen before and after.
"""

import asyncio
import json
import signal
import sys
import time
import types
from collections.abc import Awaitable, Callable
from typing import Any

from higgs_worker.serverless import sdk
from higgs_worker.serverless.intake import MAX_DIGITS, Intake

POLL_S = 1.0


def reads_deep_json() -> bool:
    """Return whether JSON may be nested as deeply as a job may."""
    depth = sdk.MAX_NESTING - 1
    try:
        json.loads("[" * depth + "]" * depth)
    except RecursionError:
        return False
    return True


def reads_big_numbers() -> bool:
    """Return whether aiohttp's parser takes a number of very many digits."""
    from aiohttp import ClientResponse

    loads = (ClientResponse.json.__kwdefaults__ or {}).get("loads", json.loads)
    try:
        loads("9" * (MAX_DIGITS + 1))
    except ValueError:
        return False
    return True


def stops_at_once(stop: Callable[[Any], None], concurrency: Any) -> bool:
    """Return whether the SDK's loop ends before its poll does."""
    from runpod.serverless.modules import rp_scale

    async def run() -> float:
        scaler = rp_scale.JobScaler(
            {"handler": lambda job: job, "concurrency_modifier": concurrency}
        )
        signal.signal(signal.SIGTERM, lambda *_: scaler.kill_worker())
        running = asyncio.create_task(scaler.run())
        await asyncio.sleep(POLL_S / 4)
        started = time.monotonic()
        stop(scaler)
        await running
        return time.monotonic() - started

    return asyncio.run(run()) < POLL_S / 2


async def _slow_poll(*_: Any) -> list[Any]:
    await asyncio.sleep(POLL_S)
    return []


def sends_again(*answers: bytes) -> bool:
    """Return whether a result whose first post fails so is posted a second time."""
    from runpod.http_client import AsyncClientSession
    from runpod.serverless.modules import rp_http

    waiting = list(answers)
    num_posts = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal num_posts
        await reader.readuntil(b"\r\n\r\n")
        num_posts += 1
        writer.write(waiting.pop(0) if waiting else b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def post() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with server, AsyncClientSession() as session:
            try:
                await rp_http._transmit(session, url, "{}")
            except Exception as error:
                print("not sent:", type(error).__name__)  # noqa: T201

    asyncio.run(post())
    return num_posts > 1


LOST = b""
BUSY = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"


def main() -> None:
    """Look at each fault before and after, and print what was seen."""
    seen: dict[str, dict[str, bool]] = {}

    def look(mend: str, probe: Callable[[], bool], apply: Callable[[], None]) -> None:
        before = probe()
        apply()
        seen[mend] = {"before": before, "after": probe()}

    asked: list[bool] = []
    recorder: Any = types.ModuleType("cpuinfo")
    recorder.get_cpu_info = lambda: asked.append(True) or {"brand_raw": ""}
    sys.modules["cpuinfo"] = recorder
    import aiohttp_retry
    from runpod.serverless.modules import rp_http, rp_scale

    sdk.skip_processor_name()  # too late here, where somebody else was there first
    seen["skip_processor_name"] = {"before": not asked, "after": True}
    aiohttp_retry.FibonacciRetry.get_timeout = lambda *_, **__: 0.0

    look("allow_deep_json", reads_deep_json, sdk.allow_deep_json)
    look("accept_big_numbers", reads_big_numbers, sdk.accept_big_numbers)
    unmended = rp_http.FibonacciRetry
    look("resend_results: lost", lambda: sends_again(LOST), sdk.resend_results)
    rp_http.FibonacciRetry = unmended
    look("resend_results: busy", lambda: sends_again(BUSY), sdk.resend_results)

    poll: Callable[..., Awaitable[Any]] = _slow_poll
    rp_scale.get_job = rp_scale.get_stop_signals = poll
    before = stops_at_once(lambda scaler: scaler.kill_worker(), lambda current: 1)
    intake = Intake(1, on_stop=lambda: None)
    sdk.cancel_polls_on_stop(intake)
    after = stops_at_once(lambda _: intake.stop(), intake.concurrency)
    seen["cancel_polls_on_stop"] = {"before": before, "after": after}
    print(json.dumps(seen))  # noqa: T201


if __name__ == "__main__":
    main()
