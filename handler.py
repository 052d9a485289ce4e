"""RunPod entry: build the worker, start the platform's loop.

`python handler.py` without RunPod's environment runs the job in `test_input.json` once.
"""

import logging
import sys

from higgs_worker import logs
from higgs_worker.build import build
from higgs_worker.errors import InvalidSettings
from higgs_worker.settings import Settings, nearest_name

log = logging.getLogger("higgs_worker.handler")


def main() -> None:
    """Serve jobs until the platform says stop."""
    try:
        settings = Settings.from_env()
    except InvalidSettings as error:
        sys.exit(f"{error.code}: {error.message}")
    logs.setup(settings.log_level)
    for name in settings.unknown_names:
        near = nearest_name(name)
        log.warning("nothing reads %s%s", name, f"; did you mean {near}?" if near else "")
    worker = build(settings)

    import runpod

    runpod.serverless.start({"handler": worker.run})


if __name__ == "__main__":
    main()
