"""`higgs-worker doctor`: look whether everything that a worker needs is there and works."""

import argparse
from dataclasses import asdict
from typing import Any

from higgs_worker.settings import Settings


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    doctor = commands.add_parser(
        "doctor", help="look whether all that is needed is there and works"
    )
    doctor.set_defaults(run=run)


def run(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Make all checks; the outcome has `failed` when one did."""
    from higgs_worker.health.doctor import examine
    from higgs_worker.load import checkpoint_source

    findings = list(examine(settings, checkpoint_source(settings)))
    return {
        "findings": [asdict(finding) for finding in findings],
        "failed": any(finding.state == "failed" for finding in findings),
    }
