"""RunPod entry: build the worker, start the platform's loop.

`python handler.py` without RunPod's environment runs the job in `test_input.json` once. Nothing
else imports the SDK; what has to be known of its inside is here, and was made for runpod 1.12.
"""

import json
import logging
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from higgs_worker import logs
from higgs_worker.build import build, is_to_preload, source_of
from higgs_worker.errors import InvalidSettings
from higgs_worker.health.startup import fitness_checks
from higgs_worker.serverless.intake import (
    Deadlines,
    Intake,
    concurrency,
    delay_stops,
    parse_big_int,
)
from higgs_worker.serverless.runner import JobRunner
from higgs_worker.settings import Settings, nearest_name

MAX_NESTING = 10_000
"""The SDK parses jobs by recursion and drops a batch in which one goes deeper than Python's limit;
a JSON of more levels than this is none to the platform either."""
MAX_CHECKS_S = 60.0
"""Until a GPU is loaded although the SDK does not take jobs: it serves them itself, or hangs."""

log = logging.getLogger("higgs_worker.handler")


def main() -> None:
    """Serve jobs until the platform says stop."""
    # The first process of a container ignores signals that it has no handler for. Nothing has been
    # taken yet, so the process just ends: an exception could be swallowed by whatever is imported.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    try:
        settings = Settings.from_env()
    except InvalidSettings as error:
        sys.exit(f"{error.code}: {error.message}")
    logs.setup(settings.log_level)
    for name in settings.unknown_names:
        near = nearest_name(name)
        log.warning("nothing reads %s%s", name, f"; did you mean {near}?" if near else "")
    is_checked = threading.Event()
    worker = build(settings, partial(is_checked.wait, MAX_CHECKS_S))
    if is_to_preload(settings):
        worker.service.preload()  # beside the SDK's own start, which takes more than a second
    serve(worker, settings, is_checked.set)


def serve(
    worker: JobRunner, settings: Settings, on_checked: Callable[[], object] = lambda: None
) -> None:
    """Hand the SDK's jobs to the worker; `on_checked` is called when its checks are over."""
    sys.setrecursionlimit(MAX_NESTING + 1000)
    # Asking for the processor's name, which only the SDK's debugger shows, takes it a second.
    sys.modules.setdefault("cpuinfo", types.ModuleType("cpuinfo")).get_cpu_info = dict  # type: ignore[attr-defined]
    import runpod
    from runpod.http_client import AsyncClientSession
    from runpod.serverless.modules import rp_http, worker_state

    async def report(job: Mapping[str, Any], progress: dict[str, Any]) -> None:
        # As the SDK's progress_update, but it can be waited for.
        async with AsyncClientSession() as session:
            await rp_http.send_result(session, {"status": "IN_PROGRESS", "output": progress}, job)

    def ask_for_another_worker() -> None:
        if not intake.is_stopping:
            intake.stop()
            config["refresh_worker"] = True  # in a reply the SDK would overlook it when streaming

    deadlines = Deadlines(settings.job_timeout_s)
    intake = Intake(
        concurrency(settings.concurrency, settings.max_slots),
        on_start=on_checked,
        on_stop=lambda: deadlines.stop(settings.grace_s),
    )
    if worker_state.IS_LOCAL_TEST:  # it checks nothing then
        on_checked()
    mend_sdk(intake)
    for check in fitness_checks(settings, source_of(settings)):
        runpod.serverless.register_fitness_check(check)
    worker = replace(
        worker,
        deadlines=deadlines,
        report=None if worker_state.IS_LOCAL_TEST else report,
        on_broken=ask_for_another_worker,
    )
    config: dict[str, Any] = {
        "handler": worker.stream if settings.stream else worker.run,
        "concurrency_modifier": intake.concurrency,
        "return_aggregate_stream": True,
    }
    runpod.serverless.start(config)


def mend_sdk(intake: Intake) -> None:
    """Mend what would lose jobs and results; `docs/delivery.md` says what, and what remains."""
    from aiohttp import ClientConnectionError, ClientPayloadError, ClientResponse
    from runpod.serverless.modules import rp_http, rp_scale

    rp_scale.get_job = intake.until_stopped(rp_scale.get_job)
    rp_scale.get_stop_signals = intake.until_stopped(delay_stops(rp_scale.get_stop_signals))
    # As it is, the SDK sends a result again after a 500, but not after a connection that was lost.
    rp_http.FibonacciRetry = partial(
        rp_http.FibonacciRetry,
        exceptions={ClientConnectionError, ClientPayloadError, TimeoutError},
        statuses={429},
    )
    read = ClientResponse.json
    loads = partial(json.loads, parse_int=parse_big_int)
    read.__kwdefaults__ = {**(read.__kwdefaults__ or {}), "loads": loads}


if __name__ == "__main__":
    main()
