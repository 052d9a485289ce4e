"""The command line: speak to a file, serve, keep voices, fetch weights, check the machine, deploy.

    higgs-worker say "Hello." -o hello.wav
    higgs-worker voices add Anna recording.wav --text "What is said in it."

It exits with 0, with 1 after a failure, or with 2 when it was called wrongly. Results go to stdout,
as JSON with `--json`; the log and errors go to stderr.
"""

import argparse
import json
import sys
from typing import Any

from higgs_worker import logs
from higgs_worker.cli import deploy, doctor, fetch, say, serve, voices
from higgs_worker.errors import WorkerError
from higgs_worker.settings import Settings


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: the words after the program's name; None: those of this process.
    """
    options = make_parser().parse_args(argv)
    try:
        settings = Settings.from_env()
        logs.setup(settings.log_level)
        outcome = options.run(options, settings)
    except WorkerError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)  # noqa: T201
        return 1
    print(json.dumps(outcome, indent=2) if options.json else _to_text(outcome))  # noqa: T201
    return 1 if outcome.get("failed") else 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; the chosen one's function is its `run`."""
    parser = argparse.ArgumentParser(prog="higgs-worker", description="Higgs Audio V2 speech.")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (say, serve, voices, fetch, doctor, deploy):
        command.add_to(commands)
    return parser


def _to_text(outcome: dict[str, Any]) -> str:
    """Format what a command returned for people."""
    if "voices" in outcome:
        lines = [
            f"{each['name']}  {each['duration_s']:.1f} s  {each['problem'] or each['text']}"
            for each in outcome["voices"]
        ]
        return "\n".join(lines) or "no voices yet; add one with: higgs-worker voices add"
    if "findings" in outcome:
        return "\n".join(
            f"{each['state']:8} {each['name']:9} {each['sentence']}" for each in outcome["findings"]
        )
    if "path" in outcome:
        heard = f"{outcome['path']}: {outcome['duration_s']:.2f} s of audio in "
        lines = [f"{heard}{outcome['total_s']:.2f} s"]
    else:
        told = {key: value for key, value in outcome.items() if key != "warnings"}
        lines = [f"{key}: {value}" for key, value in told.items() if value is not None]
    return "\n".join([*lines, *outcome.get("warnings", [])])
