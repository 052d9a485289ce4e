"""`make play`, run as in a terminal: the server starts, says where it is, and ends with Ctrl-C."""

import os
import pty
import shutil
import socket
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
START_S = 60.0
"""A start takes four seconds; the rest is for machines that do something else as well."""
CTRL_C = b"\x03"

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the machines that it is checked on"),
    pytest.mark.skipif(shutil.which("make") is None, reason="needs make"),
]


class Terminal:
    """A terminal in which `make play` runs, with this Python in place of `.venv`."""

    def __init__(self, port: int, volume: Path) -> None:
        venv = sys.prefix
        make = ["make", "--no-print-directory", "-o", f"{venv}/.worker", "play"]
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HIGGS_VOLUME": str(volume),
            "OMP_NUM_THREADS": "1",
        }
        self.output = b""
        self._pid, self._keys = pty.fork()
        if self._pid == 0:
            os.chdir(ROOT)
            os.execvpe("make", [*make, f"VENV={venv}", f"PORT={port}"], environment)
        threading.Thread(target=self._read, daemon=True).start()

    def until(self, words: bytes) -> None:
        """Wait until it shows some words."""
        deadline = time.monotonic() + START_S
        while words not in self.output:
            assert time.monotonic() < deadline, self.output
            time.sleep(0.01)

    def press(self, key: bytes) -> None:
        """Press a key."""
        os.write(self._keys, key)

    def exit_code(self) -> int:
        """Wait for the end, and return make's exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self) -> None:
        with suppress(OSError):  # that is how the end of a terminal is told
            while part := os.read(self._keys, 4096):
                self.output += part


@pytest.fixture
def port() -> int:
    """A port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
def test_it_plays_until_ctrl_c(port: int, tmp_path: Path) -> None:
    """It names its address and answers there; a second one is refused; the end is a clean one."""
    terminal = Terminal(port, tmp_path)
    terminal.until(f"Open http://127.0.0.1:{port} in a browser".encode())
    terminal.until(b"ready\r\n")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as reply:
        assert reply.status == 200
    second = Terminal(port, tmp_path)
    assert second.exit_code() == 2
    terminal.press(CTRL_C)
    assert terminal.exit_code() == 0, terminal.output
    assert f"port {port} ".encode() in second.output
    assert b"Traceback" not in terminal.output + second.output
    assert b"make: ***" not in terminal.output


@pytest.mark.slow
def test_ctrl_c_before_it_listens_is_an_end_too(port: int, tmp_path: Path) -> None:
    """Whoever changes their mind at once sees no error of make's."""
    terminal = Terminal(port, tmp_path)
    terminal.until(b"in a browser")
    time.sleep(0.5)  # Python is starting
    terminal.press(CTRL_C)
    assert terminal.exit_code() == 0, terminal.output
    assert b"make: ***" not in terminal.output
