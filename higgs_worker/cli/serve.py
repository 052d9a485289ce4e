"""`higgs-worker serve`: answer HTTP requests."""

import argparse
import logging
import os
import signal
from dataclasses import replace
from typing import Any

from higgs_worker.settings import Settings

log = logging.getLogger(__name__)


def add_to(commands: Any) -> None:
    """Add the command and its options to a parser."""
    parser = commands.add_parser("serve", help="answer HTTP requests: OpenAI's routes, websocket")
    parser.add_argument("--host", help="address to listen on (HIGGS_HOST)")
    parser.add_argument("--port", type=int, help="port to listen on (PORT)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Serve until a signal, and end the process.

    Raises:
        WorkerError: it cannot listen.
    """
    # Nothing has been begun yet. A container's first process would ignore SIGTERM otherwise, and
    # SIGINT would print where Python was.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda number, _: os._exit(128 + number))
    from higgs_worker.build import build_responder
    from higgs_worker.http.server import serve

    for sentence in settings.warnings:
        log.warning("%s", sentence)
    given = {name: getattr(options, name) for name in ("host", "port")}
    settings = replace(settings, **{name: each for name, each in given.items() if each is not None})
    code = serve(build_responder(settings), settings)
    logging.shutdown()
    # Python's own end would stop the threads that load or generate within C++, which aborts then.
    os._exit(code)
