"""The process in which recordings are decoded: it holds what decoding needs, and no more.

`RecordingReader` starts it as a program of its own, with an empty environment. It imports, waits,
and never looks at a recording itself: each one comes with a socket and is decoded in a fork, whose
memory and time the system limits. What a recording does to its fork ends with it.

A fork says READY, takes a line of JSON and the file up to the end of what is sent, and answers with
a line of JSON: `{"num_samples"}`, followed by so many floats, or the `{"message", "details"}` of an
`InvalidAudio`, or `{"defect"}`.
"""

import gc
import io
import json
import mmap
import os
import resource
import signal
import socket
import traceback
import wave
from contextlib import suppress
from pathlib import Path
from typing import Any

from higgs_worker.audio.read import read
from higgs_worker.errors import InvalidAudio

READY = b"+"

_MEMORY_BYTES = 64 << 20
_MEMORY_BYTES_PER_S = 1 << 20
"""Eight channels at 24 kHz take 0.77 MB a second."""
_REPLY_BYTES = 8 << 20
"""Left to say that there was not enough."""


def max_memory_bytes(max_s: float) -> int:
    """Return the memory that a recording may take, beyond its own bytes and the idle process."""
    return round(_MEMORY_BYTES + _MEMORY_BYTES_PER_S * max_s)


def max_cpu_s(max_s: float) -> int:
    """Return the seconds of computing that a recording may take.

    A minute of speech takes a tenth of a second, one of eight channels at 384 kHz takes seven.
    """
    return round(2 + max_s / 8)


def max_wall_s(max_s: float) -> int:
    """Return the seconds until a recording's process is killed; a busy machine needs some."""
    return 20 + 2 * max_cpu_s(max_s)


def main() -> None:
    """Serve recordings until the worker is gone; then end whatever is still decoded."""
    with suppress(OSError):  # should memory run out, this process goes, and not the worker
        Path("/proc/self/oom_score_adj").write_text("1000")
    _use_everything_once()
    gc.freeze()  # what was imported is shared with the forks
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(fileno=0) as control:
        while True:
            message, fds, _, _ = socket.recv_fds(control, 1, 1)
            if not message:
                # Its own group, see `start_new_session`.
                os.killpg(0, signal.SIGKILL)
            with socket.socket(fileno=fds[0]) as connection, suppress(OSError):
                if os.fork() == 0:
                    control.close()  # or else nobody would notice that the process is gone
                    _serve(connection)


def _use_everything_once() -> None:
    """Read a recording, so that no fork has to import anything: it may open no file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(16_000)
        recording.writeframes(bytes(range(250)) * 128)
    read(file.getvalue(), sample_rate=24_000, min_s=0.5, max_s=2.0)


def _serve(connection: socket.socket) -> None:
    """Answer one request and end the process."""
    try:
        connection.sendall(READY)
        with connection.makefile("rb") as request:
            options = json.loads(request.readline())
            data = request.read()
        for each in _answer(data, options):
            connection.sendall(each)
    finally:
        os._exit(0)


def _limit(max_s: float) -> None:
    """Bound what is left of this process: memory and time, and nothing else to use."""
    for name, soft, hard in (
        (resource.RLIMIT_AS, *_memory_limits(max_s)),
        (resource.RLIMIT_CPU, max_cpu_s(max_s), max_cpu_s(max_s)),
        (resource.RLIMIT_NOFILE, 0, 0),
        (resource.RLIMIT_NPROC, 0, 0),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(name, (soft, hard))
    signal.setitimer(signal.ITIMER_REAL, max_wall_s(max_s))


def _memory_limits(max_s: float) -> tuple[int, int]:
    num_pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft = num_pages * mmap.PAGESIZE + max_memory_bytes(max_s)
    return soft, soft + _REPLY_BYTES


def _answer(data: bytes, options: dict[str, Any]) -> tuple[bytes, ...]:
    try:
        _limit(options["max_s"])
        pcm = read(data, **options)
    except InvalidAudio as error:
        return (_line({"message": error.message, "details": error.details}),)
    except MemoryError:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        return (_line({"message": too_costly(options["max_s"]), "details": {}}),)
    except Exception as error:
        # Without the error's text, which may repeat what is in the file.
        *_, (frame, line) = traceback.walk_tb(error.__traceback__)
        place = f"{type(error).__name__}, {Path(frame.f_code.co_filename).name}:{line}"
        return (_line({"defect": place}),)
    return _line({"num_samples": len(pcm)}), pcm.astype("<f4").tobytes()


def too_costly(max_s: float) -> str:
    """Return what is said of a recording that ended its process."""
    return (
        f"to decode the audio takes more memory or time than a recording of at most {max_s:g} s "
        "may; export it again, as 16-bit WAV for example"
    )


def _line(head: dict[str, Any]) -> bytes:
    return json.dumps(head).encode() + b"\n"


if __name__ == "__main__":
    main()
