"""The checks of a worker's start: those that must pass, and those that only warn.

A check that fails raises; the platform logs its name and message and replaces the worker. All
checks run side by side. A hub or bucket that does not answer neither fails a worker nor delays it:
the pull asks the hub again, and audio that cannot be stored is returned inside the result. Nor do
wrong weights: every worker would find them, and jobs would wait for one that does not. So they are
taken, and the load fails them with the reason.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from higgs_worker.errors import InvalidCheckpoint, WeightsNotFound, WeightsRefused, WorkerError
from higgs_worker.health import checks
from higgs_worker.health.checks import CheckResult
from higgs_worker.settings import Settings
from higgs_worker.weights.source import CheckpointSource

NETWORK_S = 5.0
"""How long a start waits for the hub and the bucket."""
LOCAL_S = 120.0
"""How long a start waits for the volume and the GPU, which must answer."""

Check = Callable[[], None]
"""Raises UnfitWorker; its `__name__` is what the platform logs."""

log = logging.getLogger(__name__)


class UnfitWorker(Exception):
    """This worker cannot work, and trying again would not change that."""


def fitness_checks(settings: Settings, source: CheckpointSource) -> list[Check]:
    """Return the checks in the order in which to call them; the first call starts them all.

    Args:
        settings: what the operator chose.
        source: where checkpoints come from.
    """
    run = _StartupRun(settings, source)
    return [
        run.volume_is_writable,
        run.model_is_usable,
        run.codec_is_usable,
        run.gpu_is_usable,
        run.hub_gives_weights,
        run.bucket_takes_results,
    ]


class _StartupRun:
    """The checks of one start: not started, running, and judged one by one."""

    def __init__(self, settings: Settings, source: CheckpointSource) -> None:
        self._checks: dict[Check, Callable[[], CheckResult]] = {
            # Those that may wait for a network start first.
            self.hub_gives_weights: lambda: checks.hub(settings, source),
            self.bucket_takes_results: lambda: checks.bucket(settings),
            self.volume_is_writable: lambda: checks.volume(settings, source),
            self.model_is_usable: lambda: checks.checkpoint("model", settings, source),
            self.codec_is_usable: lambda: checks.checkpoint("codec", settings, source),
            self.gpu_is_usable: lambda: checks.gpu(settings, source),
        }
        self._running: dict[Check, Future[CheckResult]] = {}
        self._started_at = 0.0

    def volume_is_writable(self) -> None:
        self._require(self.volume_is_writable)

    def model_is_usable(self) -> None:
        self._require(self.model_is_usable)

    def codec_is_usable(self) -> None:
        self._require(self.codec_is_usable)

    def gpu_is_usable(self) -> None:
        self._require(self.gpu_is_usable)

    def hub_gives_weights(self) -> None:
        self._expect(self.hub_gives_weights)

    def bucket_takes_results(self) -> None:
        self._expect(self.bucket_takes_results)

    def _require(self, check: Check) -> None:
        """Judge a local check; silence makes the worker unfit."""
        result = self._wait_for(check, LOCAL_S)
        if result is None:
            raise UnfitWorker(f"no answer within {LOCAL_S:g} s")
        _judge(result)

    def _expect(self, check: Check) -> None:
        """Judge a check of the network; silence is only logged."""
        result = self._wait_for(check, NETWORK_S)
        if result is None:
            log.warning("%s: no answer within %g s", check.__name__, NETWORK_S)
            return
        _judge(result)

    def _wait_for(self, check: Check, timeout_s: float) -> CheckResult | None:
        """Return a check's result, or None if there is none `timeout_s` after the start."""
        if not self._running:
            self._start()
        left_s = self._started_at + timeout_s - time.monotonic()
        try:
            return self._running[check].result(max(0.0, left_s))
        except TimeoutError:
            return None
        except (InvalidCheckpoint, WeightsNotFound, WeightsRefused) as error:
            return CheckResult(check.__name__, "failed", error.message, may_pass=True)
        except WorkerError as error:
            raise UnfitWorker(error.message) from error

    def _start(self) -> None:
        self._started_at = time.monotonic()
        self._running = {each: _run_in_thread(call) for each, call in self._checks.items()}


def _judge(result: CheckResult) -> None:
    """Raise for a failure that lasts, and log every other problem."""
    if result.state == "failed" and not result.may_pass:
        raise UnfitWorker(result.sentence)
    if result.state != "ok":
        level = logging.WARNING if result.state == "failed" else logging.INFO
        log.log(level, "%s: %s", result.name, result.sentence)


def _run_in_thread(call: Callable[[], CheckResult]) -> "Future[CheckResult]":
    """Run a check in a daemon thread, so that a hanging check cannot block shutdown."""
    future: Future[CheckResult] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, name="fitness", daemon=True).start()
    return future
