"""Reads recordings in processes of their own, whose memory and time are limited.

FFmpeg's demuxers allocate what a header claims. So the worker decodes no recording itself:
`reader_process` does, without the worker's environment. This is the worker's side of it.
"""

import json
import logging
import socket
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from higgs_worker.audio.pcm import PCM
from higgs_worker.audio.reader_process import READY, max_wall_s, too_costly
from higgs_worker.errors import InternalError, InvalidAudio

MAX_AT_ONCE = 4
"""Recordings that are decoded at the same time; each takes a core, and memory as limited."""

_MAX_START_S = 60.0  # to import numpy and PyAV, from a cold and slow disk
_MAX_END_S = 5.0
_MAX_LATE_S = 5.0  # a process that is killed at its deadline is gone by then
_MAX_HEAD_BYTES = 16_384
_RECV_BYTES = 1 << 18
_MAX_EXTRA_S = 1.0  # how much longer than `max_s` PCM may be, see `read`

_PACKAGE = Path(__file__).parents[2]
# No variable of the worker's, credentials least of all. One thread: a recording gets one core.
_ENVIRONMENT = {
    "PYTHONPATH": str(_PACKAGE),
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
_ARGUMENTS = ("-P", "-m", "higgs_worker.audio.reader_process")

log = logging.getLogger(__name__)


class RecordingReader:
    """`read` in a process of its own; for any number of threads.

    The process starts with the first recording and ends with this object, at the latest with the
    worker. Should it be killed, the next recording starts another.
    """

    def __init__(self, python: str = sys.executable) -> None:
        """Start nothing yet; `python` is the interpreter that will be."""
        self._python = python
        self._places = threading.BoundedSemaphore(MAX_AT_ONCE)
        self._lock = threading.Lock()
        self._process: _ReaderProcess | None = None

    def read(self, data: bytes, *, sample_rate: int, min_s: float, max_s: float) -> PCM:
        """Decode a recording; blocks the calling thread.

        See `read.read` for arguments and result.

        Raises:
            InvalidAudio: it is not audio, is silent, lacks a part, is out of the bounds, or takes
                more memory or time than a recording may.
            InternalError: the process cannot be started, or has a defect.
        """
        options = {"sample_rate": sample_rate, "min_s": min_s, "max_s": max_s}
        request = (json.dumps(options).encode() + b"\n", data)
        max_samples = round((max_s + _MAX_EXTRA_S) * sample_rate)
        max_bytes = _MAX_HEAD_BYTES + 4 * max_samples
        with self._places, self._connect() as connection:
            answer = _exchange(connection, request, max_bytes, max_wall_s(max_s) + _MAX_LATE_S)
        head, _, samples = answer.partition(b"\n")
        match _parsed(head):
            case {"num_samples": int(num_samples)} if 4 * num_samples == len(samples):
                pcm = np.frombuffer(samples, "<f4").astype(np.float32)
                if num_samples <= max_samples and (np.abs(pcm) <= 1).all():
                    return pcm
            case {"message": str(message), "details": dict(details)}:
                raise InvalidAudio(message, details=details)
            case {"defect": str(defect)}:
                log.error("a recording could not be read", extra={"defect": defect})
                raise InternalError("the recording could not be read; this is a defect of ours")
        log.warning("a recording ended the process that read it", extra={"num_bytes": len(data)})
        raise InvalidAudio(too_costly(max_s))

    def close(self) -> None:
        """End the process, if there is one, and whatever it decodes."""
        with self._lock:
            if self._process is not None:
                self._process.end()
                self._process = None

    def _connect(self) -> socket.socket:
        """Return a connection to a process that waits for one recording.

        Raises:
            InternalError: none could be started.
        """
        for _ in range(2):  # the one that is there may have been killed
            ours, theirs = socket.socketpair()
            with theirs:
                process = self._hand_over(theirs)
            ours.settimeout(_MAX_START_S)
            with suppress(OSError):
                if ours.recv(len(READY)) == READY:
                    return ours
            ours.close()
            with self._lock:
                if process is not None and process is self._process:
                    self._process = None
                    process.end()
        raise InternalError(
            "the worker cannot start the process that reads recordings; the log says why"
        )

    def _hand_over(self, connection: socket.socket) -> "_ReaderProcess | None":
        """Give the other end of a connection to the process; return it, None if none starts."""
        with self._lock:
            try:
                self._process = self._process or _ReaderProcess(self._python)
            except OSError:
                log.exception("the process that reads recordings does not start")
                return None
            self._process.hand_over(connection)
            return self._process


class _ReaderProcess:
    """A running `reader_process`; it ends when nobody refers to this any more.

    It ends with the worker, however that ends: its end of the socket is closed then.
    """

    def __init__(self, python: str) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603
                (python, *_ARGUMENTS),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,  # signals to the worker's group are not for it
            )
        self.end = weakref.finalize(self, _end, process, self._control)

    def hand_over(self, connection: socket.socket) -> None:
        """Give away our copy of a connection; a process that is gone closes it."""
        with suppress(OSError):
            socket.send_fds(self._control, [b"."], [connection.fileno()])


def _end(process: "subprocess.Popen[bytes]", control: socket.socket) -> None:
    control.close()
    try:
        process.wait(_MAX_END_S)
    except subprocess.TimeoutExpired:  # it is still importing
        process.kill()
        process.wait()


def _exchange(
    connection: socket.socket, request: tuple[bytes, ...], max_bytes: int, timeout_s: float
) -> bytes:
    """Send a request and return the answer; an empty one if it is too long, late or broken off."""
    deadline = time.monotonic() + timeout_s
    answer = bytearray()
    try:
        for each in request:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            connection.sendall(each)
        connection.shutdown(socket.SHUT_WR)
        while True:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            piece = connection.recv(_RECV_BYTES)
            if not piece:
                return bytes(answer)
            answer += piece
            if len(answer) > max_bytes:
                return b""
    except OSError:
        return b""


def _parsed(head: bytes) -> Any:
    try:
        return json.loads(head)
    except ValueError:
        return None
