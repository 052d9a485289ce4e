"""A worker that only pulls: a process of its own, to be killed, frozen and crowded.

python -m tests.fakes.pull_worker ENDPOINT VOLUME [MAX_FILE_BYTES]
"""

import json
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from higgs_worker.errors import WorkerError
from higgs_worker.weights.locate import CheckpointSource, locate_checkpoint
from tests.fakes.hub import CALM, REPO, StandIn


def start(standin: StandIn, volume: Path, max_file_bytes: int = 0) -> "subprocess.Popen[str]":
    """Start a worker."""
    command = [sys.executable, "-m", "tests.fakes.pull_worker", standin.endpoint, str(volume)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [*command, str(max_file_bytes)], stdout=subprocess.PIPE, text=True, cwd=root
    )


def outcome(worker: "subprocess.Popen[str]") -> dict[str, str]:
    """Wait for its end and return what it found, or how it failed."""
    result: dict[str, str] = json.loads(worker.communicate(timeout=30)[0])
    return result


def _main(endpoint: str, volume: str, max_file_bytes: str) -> None:
    if int(max_file_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(max_file_bytes), int(max_file_bytes)))
    source = CheckpointSource(volume=Path(volume), endpoint=endpoint, caches=(), limits=CALM)
    try:
        result = {
            key: str(value)
            for key, value in asdict(locate_checkpoint(REPO, "model", source)).items()
        }
    except WorkerError as error:
        result = {"code": error.code, "message": error.message}
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    _main(*sys.argv[1:])
