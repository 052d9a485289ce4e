"""`higgs-worker serve`: answer HTTP requests."""

import argparse
from dataclasses import replace
from typing import Any

from higgs_worker.settings import Settings


def add_to(commands: Any) -> None:
    """Add the command and its options to a parser."""
    parser = commands.add_parser("serve", help="answer HTTP requests: OpenAI's routes, websocket")
    parser.add_argument("--host", help="address to listen on (HIGGS_HOST)")
    parser.add_argument("--port", type=int, help="port to listen on (PORT)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Serve until a signal; return nothing, or that it failed.

    Raises:
        WorkerError: it cannot listen.
    """
    from higgs_worker.build import build_responder
    from higgs_worker.http.server import serve

    given = {name: getattr(options, name) for name in ("host", "port")}
    settings = replace(settings, **{name: each for name, each in given.items() if each is not None})
    code = serve(build_responder(settings), settings)
    return {"failed": True} if code else {}
