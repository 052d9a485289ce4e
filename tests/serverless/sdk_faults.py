"""The real SDK's faults, each looked at before and after its mend, in one process of their own.

    python -m tests.serverless.sdk_faults

The last line is a JSON object: by mend, what was seen before and after.
"""

import asyncio
import json
import os
import signal
import sys
import time
import types
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from higgs_worker.api.json_text import MAX_DIGITS
from higgs_worker.serverless import sdk
from higgs_worker.serverless.intake import Intake

POLL_S = 2.5
"""How long a poll is held; the SDK itself takes up to a second to stop."""
TAKE_S = 0.5


@asynccontextmanager
async def serve_polls(answer: bytes = b"") -> AsyncIterator[None]:
    """Serve the SDK's polls: one take is answered, all others are held."""
    from runpod.serverless.modules import rp_job

    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answer
        request = await reader.readuntil(b"\r\n\r\n")
        if b"/job-take" in request and answer:
            writer.write(head % len(answer) + answer)
            answer = b""
        else:
            await asyncio.sleep(POLL_S)
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        rp_job.JOB_GET_URL = f"http://127.0.0.1:{port}/job-take/w0?gpu=none"
        yield


def takes_beside(element: bytes) -> bool:
    """Return whether a job is run that comes behind such an element in the answer to a poll."""
    from runpod.serverless.modules import rp_scale

    ran: list[str] = []

    async def handle(_: Any, __: Any, job: dict[str, Any]) -> None:
        ran.append(job["id"])

    async def run() -> None:
        scaler = rp_scale.JobScaler({"concurrency_modifier": lambda _: 2})
        scaler.jobs_handler = handle
        async with serve_polls(b'[%b, {"id": "good", "input": {}}]' % element):
            with suppress(Exception):
                await asyncio.wait_for(scaler.run(), TAKE_S)
            scaler.kill_worker()  # where one of its loops has ended, the others go on

    asyncio.run(run())
    rp_scale.JobsProgress().clear()
    return ran == ["good"]


def stops_at_once(stop: Callable[[Any], None], concurrency: Any) -> bool:
    """Return whether the SDK's loop ends before its poll does."""
    from runpod.serverless.modules import rp_scale

    async def run() -> float:
        scaler = rp_scale.JobScaler(
            {"handler": lambda job: job, "concurrency_modifier": concurrency}
        )
        signal.signal(signal.SIGTERM, lambda *_: scaler.kill_worker())
        async with serve_polls():
            running = asyncio.create_task(scaler.run())
            await asyncio.sleep(POLL_S / 4)
            started = time.monotonic()
            stop(scaler)
            await running
        return time.monotonic() - started

    return asyncio.run(run()) < POLL_S / 2


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


def returns_no_log() -> bool:
    """Return whether what was printed stays out of the result of a job that fails."""
    with suppress(ImportError):  # 1.12 captures nothing
        from runpod.serverless.modules import rp_capture

        rp_capture.install()
    from runpod.serverless.modules import rp_job

    async def handler(_: Any) -> None:
        print("what was printed")  # noqa: T201
        raise ValueError

    return "printed" not in asyncio.run(rp_job.run_job(handler, {"id": "1"}))["error"]


ELEMENTS = {
    "no job": b"null",
    "deep": b"[" * 9000 + b"]" * 9000,
    "many digits": b"9" * (MAX_DIGITS + 1),
}
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

    os.environ["RUNPOD_LOG_CAPTURE"] = "all"
    look("set_variables: log", returns_no_log, lambda: sdk.set_variables("INFO"))
    sdk.skip_processor_name()  # too late here, where somebody else was there first
    seen["skip_processor_name"] = {"before": not asked, "after": True}
    aiohttp_retry.FibonacciRetry.get_timeout = lambda *_, **__: 0.0

    unmended = rp_http.FibonacciRetry
    look("resend_results: lost", lambda: sends_again(LOST), sdk.resend_results)
    rp_http.FibonacciRetry = unmended
    look("resend_results: busy", lambda: sends_again(BUSY), sdk.resend_results)

    unmended = rp_scale.get_job
    for name, element in ELEMENTS.items():
        rp_scale.get_job = unmended
        look(
            f"take_safely: {name}",
            partial(takes_beside, element),
            lambda: sdk.take_safely(Intake(1, on_stop=lambda: None)),
        )

    rp_scale.get_job = unmended
    before = stops_at_once(lambda scaler: scaler.kill_worker(), lambda current: 1)
    intake = Intake(1, on_stop=lambda: None)
    sdk.take_safely(intake)
    sdk.cancel_stops_on_stop(intake)
    after = stops_at_once(lambda _: intake.stop(), intake.concurrency)
    seen["cancel_stops_on_stop"] = {"before": before, "after": after}
    print(json.dumps(seen))  # noqa: T201


if __name__ == "__main__":
    main()
