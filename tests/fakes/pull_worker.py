"""A worker that only pulls: a process of its own, which tests kill, freeze and crowd."""

import os
import resource
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from higgs_worker.errors import WorkerError
from higgs_worker.weights.locate import CheckpointSource, LocatedCheckpoint, locate_checkpoint
from tests.fakes.hub import CALM, REPO, StandIn
from tests.fakes.processes import CONTEXT

OUTCOME_S = 60.0  # a tenth of a second, when nothing else runs


class PullWorker:
    """A process that pulls the toy model to a volume."""

    def __init__(
        self,
        standin: StandIn,
        volume: Path,
        *,
        max_file_bytes: int = -1,
        stale_s: float = CALM.stale_s,
    ) -> None:
        self._outcome, sender = CONTEXT.Pipe(duplex=False)
        self._process = CONTEXT.Process(
            target=_main,
            args=(sender, standin.endpoint, volume, max_file_bytes, stale_s),
            daemon=True,
        )
        self._process.start()
        sender.close()

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self._process.kill()
        self._process.join()

    def outcome(self) -> LocatedCheckpoint | WorkerError:
        """Wait for what it found, or for how it failed."""
        assert self._outcome.poll(OUTCOME_S), "the worker hangs"
        found: LocatedCheckpoint | WorkerError = self._outcome.recv()
        return found


def _main(
    sender: Connection, endpoint: str, volume: Path, max_file_bytes: int, stale_s: float
) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, most))
    limits = replace(CALM, stale_s=stale_s)
    source = CheckpointSource(volume=volume, endpoint=endpoint, caches=(), limits=limits)
    try:
        sender.send(locate_checkpoint(REPO, "model", source))
    except WorkerError as error:
        sender.send(error)
