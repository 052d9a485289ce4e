"""RunPod entry: settings, the worker's parts, the platform's loop.

`python handler.py` without RunPod's environment runs the job in `test_input.json` once.
"""

import logging
import os
import signal
import sys
import threading
from functools import partial

from higgs_worker import logs
from higgs_worker.build import build, is_to_preload
from higgs_worker.checkpoints import checkpoint_source
from higgs_worker.errors import InvalidSettings
from higgs_worker.health.startup import fitness_checks
from higgs_worker.serverless.sdk import serve
from higgs_worker.settings import Settings

MAX_CHECKS_S = 60.0
"""How long the model's load waits for the SDK's checks of the GPU; after that it goes on."""

log = logging.getLogger("higgs_worker.handler")


def main() -> None:
    """Serve jobs until the platform says stop."""
    # No job has been taken yet, so the process may just end. An exception instead could be
    # swallowed by whatever is being imported.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    try:
        settings = Settings.from_env()
    except InvalidSettings as error:
        sys.exit(f"{error.code}: {error.message}")
    logs.setup(settings.log_level)
    for sentence in settings.warnings:
        log.warning("%s", sentence)
    is_checked = threading.Event()
    runner = build(settings, partial(is_checked.wait, MAX_CHECKS_S))
    if is_to_preload(settings):
        runner.responder.service.preload()  # beside the SDK's own start, which takes over a second
    checks = fitness_checks(settings, checkpoint_source(settings))
    serve(runner, settings, checks=checks, on_checked=is_checked.set)


if __name__ == "__main__":
    main()
