"""What a worker needs before it may take jobs, checked once at start.

A check that fails raises; the platform shows its name and sentence and replaces the worker. All are
made side by side. A network that does not answer neither fails a worker nor holds it up: the pull
asks the hub again, and audio that cannot be stored is returned inside the result. Knows nothing of
the SDK that runs the checks.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from higgs_worker.errors import WorkerError
from higgs_worker.health import checks
from higgs_worker.health.checks import CheckResult
from higgs_worker.settings import Settings
from higgs_worker.weights import locate as weights

NETWORK_S = 5.0
"""How long a start waits for the hub and the bucket."""
LOCAL_S = 120.0
"""How long it waits for the volume and the GPU, which must answer."""

Check = Callable[[], None]

log = logging.getLogger(__name__)


class UnfitWorker(Exception):
    """This worker cannot work, and no repetition changes that."""


def fitness_checks(settings: Settings, source: weights.CheckpointSource) -> list[Check]:
    """Return the checks, to be called one after another; the first one begins them all.

    Args:
        settings: what the operator chose.
        source: where checkpoints may be had from.
    """
    local: dict[str, Callable[[], CheckResult]] = {
        "volume_is_writable": lambda: checks.volume(settings, source),
        "model_is_usable": lambda: checks.checkpoint("model", settings, source),
        "codec_is_usable": lambda: checks.checkpoint("codec", settings, source),
        "gpu_is_usable": lambda: checks.gpu(settings, source),
    }
    network: dict[str, Callable[[], CheckResult]] = {
        "hub_gives_weights": lambda: checks.hub(settings, source),
        "bucket_takes_results": lambda: checks.bucket(settings),
    }
    begun: dict[str, Future[CheckResult]] = {}
    began_at = 0.0

    def judge(name: str) -> None:
        nonlocal began_at
        if not begun:
            began_at = time.monotonic()
            begun.update({each: _begin(look) for each, look in (network | local).items()})
        patience_s = LOCAL_S if name in local else NETWORK_S
        left_s = began_at + patience_s - time.monotonic()
        try:
            finding = begun[name].result(max(0.0, left_s))
        except TimeoutError:
            sentence = f"no answer within {patience_s:g} s"
            finding = CheckResult(name, "failed", sentence, may_pass=name in network)
        except WorkerError as error:
            raise UnfitWorker(error.message) from error
        if finding.state == "failed" and not finding.may_pass:
            raise UnfitWorker(finding.sentence)
        if finding.state != "ok":
            level = logging.WARNING if finding.state == "failed" else logging.INFO
            log.log(level, "%s: %s", finding.name, finding.sentence)

    def named(name: str) -> Check:
        def check() -> None:
            judge(name)

        check.__name__ = name
        return check

    return [named(name) for name in (*local, *network)]


def _begin(look: Callable[[], CheckResult]) -> "Future[CheckResult]":
    """Look in a thread that keeps nobody from ending."""
    found: Future[CheckResult] = Future()

    def run() -> None:
        try:
            found.set_result(look())
        except Exception as error:
            found.set_exception(error)

    threading.Thread(target=run, name="fitness", daemon=True).start()
    return found
