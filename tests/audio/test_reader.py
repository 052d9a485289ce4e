"""Reading in processes of their own: the same sound, and nothing that a file does reaches us."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from higgs_worker.audio.read import read
from higgs_worker.audio.reader import MAX_AT_ONCE, RecordingReader
from higgs_worker.audio.reader_process import max_cpu_s, max_memory_bytes
from higgs_worker.errors import InternalError, InvalidAudio
from tests.audio.recordings import SPEECH, VALID, sound_file
from tests.fakes.bombs import BOMBS
from tests.fakes.process_memory import (
    children,
    forget_peak,
    num_open_files,
    peak_mb,
    watching_forks,
)

OPTIONS = {"sample_rate": 24_000, "min_s": 1.0, "max_s": 30.0}
SENT_SECRET = "rpa_4f1c9b7d2e6a8053"


@pytest.fixture(scope="module")
def reader() -> Iterator[RecordingReader]:
    """One process for the tests that leave it as it is."""
    reader = RecordingReader()
    yield reader
    reader.close()


def process_of(reader: RecordingReader) -> int:
    """Return the process of a reader, a new one."""
    reader.close()
    others = processes()
    reader.read(VALID["wav"], **OPTIONS)
    (pid,) = processes() - others
    return pid


def processes() -> set[int]:
    """Return those that readers of this test process have started; of a zombie, nothing is left."""
    return {
        each
        for each in children()
        if (command := Path(f"/proc/{each}/cmdline").read_bytes()) == b""
        or b"reader_process" in command
    }


def eventually(is_so: Callable[[], bool]) -> None:
    """Wait until something is so, for ten seconds at most."""
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("kind", VALID)
def test_the_process_gives_the_same_sound(reader: RecordingReader, kind: str) -> None:
    """To the bit, whatever had to be imported for it."""
    assert np.array_equal(reader.read(VALID[kind], **OPTIONS), read(VALID[kind], **OPTIONS))


@pytest.mark.parametrize(
    "data", [b"", b"%PDF-1.7", sound_file(0 * SPEECH), VALID["wav"][:60_000], VALID["wav"][:9000]]
)
def test_the_process_gives_the_same_refusal(reader: RecordingReader, data: bytes) -> None:
    """Word for word, with the same details."""
    errors = []
    for each in (read, reader.read):
        with pytest.raises(InvalidAudio) as caught:
            each(data, **OPTIONS)
        errors.append((caught.value.message, caught.value.details))
    assert errors[0] == errors[1]


def test_no_secret_is_where_files_are_read(
    reader: RecordingReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is ours: where the package is, and one thread. Nor is it of our group:
    Ctrl-C is the worker's to answer, and a job that runs may still need its voice."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SENT_SECRET)
    pid = process_of(reader)
    environment = Path(f"/proc/{pid}/environ").read_bytes().rstrip(b"\0").split(b"\0")
    assert sorted(each.partition(b"=")[0] for each in environment) == [
        b"OMP_NUM_THREADS",
        b"OPENBLAS_NUM_THREADS",
        b"PYTHONPATH",
    ]
    assert SENT_SECRET.encode() not in b"".join(environment)
    assert os.getpgid(pid) == pid


@pytest.mark.parametrize("bomb", ["mp4: 16 tracks of 80 million", "mp4: 4 billion durations"])
def test_a_bomb_takes_no_memory(reader: RecordingReader, bomb: str) -> None:
    """Tables of gigabytes in kilobytes: refused at the limit, and the worker does not move."""
    data = BOMBS[bomb]()
    forget_peak()
    before = peak_mb()
    started = time.monotonic()
    with watching_forks() as forks, pytest.raises(InvalidAudio):
        reader.read(data, **OPTIONS)
    assert time.monotonic() - started < 5
    assert peak_mb() - before < 4
    assert forks.mb < 60 + max_memory_bytes(30) / 1e6
    assert len(reader.read(VALID["wav"], **OPTIONS)) == len(SPEECH)


@pytest.mark.slow
def test_what_takes_too_long_holds_nobody_up(reader: RecordingReader) -> None:
    """It ends after two seconds of computing; a recording beside it is read meanwhile."""
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(
            reader.read, BOMBS["amr: a frame in every byte"](), **(OPTIONS | {"max_s": 1.0})
        )
        num_read = 0
        while not slow.done():
            num_read += len(reader.read(VALID["wav"], **OPTIONS)) == len(SPEECH)
        with pytest.raises(
            InvalidAudio, match="more memory or time than a recording of at most 1 s may"
        ):
            slow.result()
    assert max_cpu_s(1) == 2
    assert num_read > 5


def test_many_at_once_are_read(reader: RecordingReader) -> None:
    """More than have a place wait for it; none gets another's sound, and no file stays open."""
    sounds = [sound_file(SPEECH * np.float32(1 - each / 20)) for each in range(3 * MAX_AT_ONCE)]
    pid = process_of(reader)
    before = num_open_files()
    with ThreadPoolExecutor(len(sounds)) as threads:
        found = list(threads.map(lambda data: reader.read(data, **OPTIONS), sounds))
    for data, pcm in zip(sounds, found, strict=True):
        assert np.array_equal(pcm, read(data, **OPTIONS))
    assert num_open_files() == before
    eventually(lambda: not children(pid))


def test_a_process_that_was_killed_is_replaced() -> None:
    """The kernel may take it when memory is short; the next recording is read all the same."""
    before = processes()
    reader = RecordingReader()
    os.kill(process_of(reader), signal.SIGKILL)
    assert len(reader.read(VALID["wav"], **OPTIONS)) == len(SPEECH)
    assert len(processes() - before) == 1
    reader.close()
    assert processes() == before


def test_nothing_is_left_behind() -> None:
    """Neither process nor zombie, whether a reader is closed or forgotten; none starts unused."""
    before = processes()
    reader = RecordingReader()
    assert processes() == before
    assert process_of(reader) not in before
    reader.close()
    assert processes() == before
    reader.read(VALID["wav"], **OPTIONS)
    del reader
    assert processes() == before


WORKER = """
import os, sys
from higgs_worker.audio.reader import RecordingReader
reader = RecordingReader()
reader.read(sys.stdin.buffer.read(), sample_rate=24000, min_s=1.0, max_s=30.0)
print(*open(f"/proc/self/task/{os.getpid()}/children").read().split(), flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("how", ["killed", "ends"])
def test_it_ends_with_the_worker(how: str) -> None:
    """However that ends."""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", WORKER, how],
        input=VALID["wav"],
        capture_output=True,
        env={"PYTHONPATH": root},
    )
    assert done.returncode == (-9 if how == "killed" else 0), done.stderr
    process = Path(f"/proc/{int(done.stdout)}/stat")
    # Where nobody collects orphans, a zombie is as gone as can be.
    eventually(lambda: not process.exists() or process.read_text().split(") ")[1][0] == "Z")


def program(directory: Path, script: str) -> str:
    """Write a program that ignores its arguments."""
    path = directory / "program"
    path.write_text(f"#!{sys.executable}\n{script}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize("script", ["", "import nothing", None])
def test_a_process_that_cannot_start_is_not_the_callers_fault(
    tmp_path: Path, script: str | None
) -> None:
    """No interpreter, or one that ends at once."""
    executable = str(tmp_path / "nothing") if script is None else program(tmp_path, script)
    with pytest.raises(InternalError, match="cannot start the process"):
        RecordingReader(executable).read(VALID["wav"], **OPTIONS)


LIAR = """
import socket
control = socket.socket(fileno=0)
while True:
    message, fds, _, _ = socket.recv_fds(control, 1, 1)
    if not message:
        break
    with socket.socket(fileno=fds[0]) as connection:
        connection.sendall(b"+")
        while connection.recv(1 << 20):
            pass
        try:
            connection.sendall(%r)
        except OSError:
            pass
"""


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"[]\n",
        b"{" * 5000,
        b'{"num_samples": 2}\n' + bytes(4),
        b'{"num_samples": -1}\n',
        b'{"num_samples": 1}\n' + np.float32(np.nan).tobytes(),
        b'{"num_samples": 1}\n' + np.float32(2).tobytes(),
        b'{"message": 5, "details": {}}\n',
    ],
)
def test_an_answer_that_cannot_be_is_not_believed(tmp_path: Path, answer: bytes) -> None:
    """Whoever has taken over a process that reads gets no more than a refusal."""
    reader = RecordingReader(program(tmp_path, LIAR % answer))
    with pytest.raises(InvalidAudio, match="more memory or time"):
        reader.read(VALID["wav"], **OPTIONS)
    reader.close()


def test_an_answer_without_end_is_cut(tmp_path: Path) -> None:
    """The longest recording bounds what is taken from the process."""
    script = LIAR.replace("sendall(%r)", 'sendall(b" " * 300_000_000)')
    reader = RecordingReader(program(tmp_path, script))
    forget_peak()
    before = peak_mb()
    with pytest.raises(InvalidAudio):
        reader.read(VALID["wav"], **OPTIONS)
    assert peak_mb() - before < 20
    reader.close()
