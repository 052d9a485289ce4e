"""`higgs-worker fetch`: pull missing weights onto the volume and check those that are there."""

import argparse
from dataclasses import replace
from typing import Any

from higgs_worker.cli.bar import progress_bar
from higgs_worker.settings import Settings
from higgs_worker.weights.progress import TransferProgress


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    fetch = commands.add_parser("fetch", help="pull missing weights and check those that are there")
    fetch.set_defaults(run=run)


def run(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Locate both checkpoints, pull what is missing, check the rest, and return where each one is.

    Raises:
        WorkerError: a checkpoint is neither here nor available from the hub.
    """
    from higgs_worker.checkpoints import Checkpoints

    settings = replace(settings, verify="always")  # who asks for a check wants one
    with progress_bar("weights") as draw:

        def show(transfer: TransferProgress) -> None:
            left = "" if transfer.left_s is None else f", {transfer.left_s:.0f} s left"
            note = (
                f"{transfer.num_bytes / 1e9:.2f} of {transfer.total_bytes / 1e9:.2f} GB, "
                f"{transfer.bytes_per_s / 1e6:.0f} MB/s{left}: {transfer.stage} {transfer.repo}"
            )
            draw(transfer.num_bytes / max(1, transfer.total_bytes), note)

        checkpoints = Checkpoints(settings, show)
    located = {"model": checkpoints.model, "codec": checkpoints.codec}
    return {
        kind: f"{each.directory}" + (f" at {each.revision}" if each.revision else "")
        for kind, each in located.items()
    }
