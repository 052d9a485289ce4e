"""RunPod's SDK: its loop, fed with this worker's jobs, and what has to be mended in it.

The only module that imports `runpod`; what it knows of the SDK's inside was read in runpod 1.12 and
2.0.0rc2. Each mend says which of them need it, and `tests/serverless/sdk_faults.py` tries that.
`docs/delivery.md` lists what each mend is for, and what can still be lost.
"""

import asyncio
import gc
import os
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from higgs_worker.logs import masked
from higgs_worker.metrics.minute_log import MinuteLog
from higgs_worker.serverless.intake import Intake, concurrency, delay_stops
from higgs_worker.serverless.runner import JobRunner
from higgs_worker.serverless.takes import read_jobs
from higgs_worker.settings import Settings

_HELD_BACK = (
    "Async Generator output",
    "Generator output",
    "Handler output",
    "Job result",
    "Retrieved local job",
    "Stream output",
    "run_job return",
)
"""How lines of the SDK begin that hold a whole job or result."""


def serve(
    runner: JobRunner,
    settings: Settings,
    *,
    checks: Iterable[Callable[[], None]] = (),
    on_checked: Callable[[], object] = lambda: None,
) -> None:
    """Run the SDK's loop until the platform ends it.

    Args:
        runner: runs the jobs.
        settings: what the operator chose.
        checks: fitness checks, made by the SDK before the first job; one that raises fails the
            worker.
        on_checked: called when the SDK has made them.
    """
    set_variables(settings.runpod_log_level)
    skip_processor_name()
    keep_results_out_of_log()
    import runpod.serverless
    from runpod.http_client import AsyncClientSession
    from runpod.serverless.modules import rp_http, worker_state

    async def report(job: Mapping[str, Any], progress: dict[str, Any]) -> None:
        # As the SDK's progress_update, but it can be waited for.
        async with AsyncClientSession() as session:
            await rp_http.send_result(session, {"status": "IN_PROGRESS", "output": progress}, job)

    def ask_for_another_worker() -> None:
        if not intake.is_stopping:
            intake.stop()
            # Both versions overlook `refresh_worker` in the output of a generator.
            config["refresh_worker"] = True

    intake = Intake(
        concurrency(settings.concurrency, settings.max_slots),
        on_start=on_checked,
        on_stop=lambda: runner.responder.deadlines.stop(settings.grace_s),
    )
    is_local: bool = worker_state.IS_LOCAL_TEST
    if is_local:
        on_checked()  # there are no checks then
    take_safely(intake)
    cancel_stops_on_stop(intake)
    resend_results()
    for check in checks:
        runpod.serverless.register_fitness_check(check)
    responder = replace(runner.responder, on_broken=ask_for_another_worker)
    runner = replace(runner, responder=responder, report=None if is_local else report)
    config: dict[str, Any] = {
        # In a local test, neither version iterates over a generator: the job would not be run.
        "handler": runner.stream if settings.stream and not is_local else runner.run,
        "concurrency_modifier": intake.concurrency,
        "return_aggregate_stream": True,
    }
    # What was imported stays; to look through it takes the garbage collector 0.1 s.
    gc.freeze()
    with MinuteLog(responder.metrics):
        runpod.serverless.start(config)


def set_variables(log_level: str) -> None:
    """Set what the SDK reads when it is imported, here and in the process that sends its pings.

    Args:
        log_level: the least severe one of its lines to print.
    """
    os.environ["RUNPOD_LOG_LEVEL"] = log_level
    # 2.0 returns what was printed to the callers of jobs that fail, where it is told to.
    os.environ["RUNPOD_LOG_CAPTURE"] = "off"
    # 2.0 checks the machine when it is imported. The worker's own checks say more, and come first.
    os.environ["RUNPOD_DEFER_FITNESS_CHECKS"] = "true"


def skip_processor_name() -> None:
    """Keep the SDK from asking for the processor's name: it takes a second, and is only shown.

    Needed by 1.12; 2.0 asks for it where it shows it.
    """
    module: Any = types.ModuleType("cpuinfo")
    module.get_cpu_info = dict
    sys.modules.setdefault("cpuinfo", module)


def keep_results_out_of_log() -> None:
    """Import the SDK so that no line of its log holds a job, a result or a signed address.

    By itself it prints all of them: at DEBUG, its default, and in a local run at INFO. Its lines do
    not come from `logging`, so they are masked here. Needed by 1.12 and 2.0.
    """
    from runpod.serverless.modules.rp_logger import RunPodLogger

    print_line = RunPodLogger.log

    def print_without_results(
        self: Any, message: object, message_level: str = "INFO", job_id: str | None = None
    ) -> None:
        beginning = str(message)[:40].partition(": ")[0]
        line = f"{beginning}: not shown" if beginning in _HELD_BACK else masked(str(message))
        print_line(self, line, message_level, job_id)

    RunPodLogger.log = print_without_results


def take_safely(intake: Intake) -> None:
    """Take jobs in place of the SDK, which parses in its loop and ends on what is no job.

    The poll is cancelled when the worker stops, which would otherwise lose a job. An answer that
    has arrived is read even then. Needed by 1.12 and 2.0.
    """
    from runpod.http_client import TooManyRequests
    from runpod.serverless.modules import rp_job, rp_scale

    async def fetch(session: Any, num_jobs: int) -> bytes:
        async with session.get(rp_job._job_get_url(num_jobs)) as response:
            if response.status in (204, 400):  # 400 is usual on an endpoint with FlashBoot
                return b""
            if response.status == 429:
                raise TooManyRequests(response.request_info, response.history, status=429)
            response.raise_for_status()
            answer: bytes = await response.read()
            return answer

    poll = intake.cancel_on_stop(fetch)

    async def take(session: Any, num_jobs: int = 1) -> list[dict[str, Any]]:
        answer = await poll(session, num_jobs)
        running = {each.id for each in rp_job.job_progress}
        return await asyncio.to_thread(read_jobs, answer, running) if answer else []

    rp_scale.get_job = intake.pace(take)


def cancel_stops_on_stop(intake: Intake) -> None:
    """Cancel the SDK's poll for stop signals when the worker stops, which would wait for it.

    Needed by 1.12 and 2.0.
    """
    from runpod.serverless.modules import rp_scale

    poll = intake.cancel_on_stop(delay_stops(rp_scale.get_stop_signals))
    rp_scale.get_stop_signals = intake.pace(poll)


def resend_results() -> None:
    """Send a result again after a lost connection or a 429; the SDK does so only after a 500.

    Needed by 1.12 and 2.0.
    """
    from aiohttp import ClientConnectionError, ClientPayloadError
    from runpod.serverless.modules import rp_http

    rp_http.FibonacciRetry = partial(
        rp_http.FibonacciRetry,
        exceptions={ClientConnectionError, ClientPayloadError, TimeoutError},
        statuses={429},
    )
