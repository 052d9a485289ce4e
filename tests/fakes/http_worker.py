"""A worker that answers HTTP, in a process of its own, with the demo model.

Needs nothing but Python and numpy, because the tests of clients also run beside other packages than
the worker's. `WORKER_PYTHON` names the Python that has those.
"""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
WORKER_PYTHON = os.environ.get("WORKER_PYTHON", sys.executable)
RATE = 24_000
SECRETS = {"HIGGS_API_KEY": "theKeyOfTheHttpServer"}
START_S = 120.0
"""A start takes six seconds; the rest is for machines that do something else as well."""


class HttpWorker:
    """`higgs-worker serve`; a context manager that ends it."""

    def __init__(self, directory: Path, *, module: str = "higgs_worker", **settings: str) -> None:
        """
        Args:
            directory: for its volume and its log.
            module: what runs; another one than the worker's may serve another model.
            settings: further environment variables of it.
        """
        keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        own = {
            "HIGGS_MODEL": "demo",
            "HIGGS_MAX_SLOTS": "2",
            "HIGGS_VOLUME": str(directory / "volume"),
            "OMP_NUM_THREADS": "1",
            "PORT": str(_free_port()),
            "PYTHONPATH": str(ROOT),
        }
        environment = keep | own | SECRETS | settings
        self.address = f"127.0.0.1:{environment['PORT']}"
        self.url = f"http://{self.address}"
        self.volume = Path(environment["HIGGS_VOLUME"])
        self._log = directory / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [WORKER_PYTHON, "-m", module, "serve"],
                env=environment,
                cwd=directory,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> "HttpWorker":
        self._wait_for(200)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()

    @contextmanager
    def answering(self) -> Iterator["HttpWorker"]:
        """Wait until it answers, not until it speaks; a context manager as the worker itself is."""
        try:
            self._wait_for(204)
            yield self
        finally:
            self.__exit__()

    @property
    def log(self) -> str:
        """Everything it has printed."""
        return self._log.read_text(errors="replace")

    def post(self, path: str, body: Any) -> bytes:
        """Send JSON and return the reply's body."""
        request = urllib.request.Request(
            self.url + path,
            data=json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {SECRETS['HIGGS_API_KEY']}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=120) as reply:
            return reply.read()

    def job_pcm(self, text: str, seed: int, **fields: Any) -> np.ndarray:
        """Speak as a job does and return its whole audio, [samples] int16."""
        job = {"text": text, "seed": seed, "format": "pcm", **fields}
        output = json.loads(self.post("/v1/speech", {"input": job}))
        return pcm_of(base64.b64decode(output["audio"]["base64"]))

    def status(self) -> int:
        """Return what /ping says; 0 while nothing answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=5) as reply:
                return int(reply.status)
        except OSError:
            return 0

    def _wait_for(self, status: int) -> None:
        deadline = time.monotonic() + START_S
        while self.status() != status:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log[-5000:]
            time.sleep(0.05)


def pcm_of(audio: bytes) -> np.ndarray:
    """Return raw 16-bit audio as samples."""
    return np.frombuffer(audio, "<i2")


def decoded(file: bytes) -> np.ndarray:
    """Return the samples of an audio file, also of one whose header leaves its length open."""
    import av

    resampler = av.AudioResampler("s16", "mono", RATE)
    with av.open(io.BytesIO(file)) as container:
        frames = [
            part.to_ndarray().ravel()
            for frame in container.decode(audio=0)
            for part in resampler.resample(frame)
        ]
    return np.concatenate(frames)


def is_same(pcm: np.ndarray, expected: np.ndarray) -> bool:
    """Tell whether two speeches are the same.

    The codec's pieces follow the listener, and other pieces round otherwise, now and then.
    """
    if len(pcm) != len(expected):
        return False
    return int(np.abs(pcm.astype(int) - expected).max()) <= 1


def is_speech(pcm: np.ndarray, duration_s: float, *, tolerance_s: float = 0.15) -> bool:
    """Tell whether samples are about so long, and loud as speech is: not silence, not noise.

    Args:
        pcm: [samples] int16.
        duration_s: what it should last.
        tolerance_s: how much longer or shorter it may be.
    """
    level = float(np.sqrt(np.mean((pcm / 32768) ** 2)))
    return abs(len(pcm) / RATE - duration_s) < tolerance_s and 0.005 < level < 0.5


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
