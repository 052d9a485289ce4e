"""`higgs-worker doctor`: check that everything a worker needs is there and works."""

import argparse
from dataclasses import asdict
from typing import Any

from higgs_worker.settings import Settings


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    doctor = commands.add_parser(
        "doctor", help="check that everything a worker needs is there and works"
    )
    doctor.set_defaults(run=run)


def run(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Run all checks and return their results; `failed` tells whether any check failed."""
    from higgs_worker.checkpoints import checkpoint_source
    from higgs_worker.health.doctor import examine

    results = list(examine(settings, checkpoint_source(settings)))
    return {
        "findings": [asdict(result) for result in results],
        "failed": any(result.state == "failed" for result in results),
    }
