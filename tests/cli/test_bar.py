"""The progress bar: one line of a terminal, and gone at the end."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from higgs_worker.cli.bar import progress_bar

COLUMNS = 80


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let stderr be a terminal; gives what shows it."""
    shown, written = pty.openpty()
    fcntl.ioctl(written, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    with os.fdopen(written, "w", encoding="utf-8") as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        yield shown
        stderr.flush()
    os.close(shown)


def test_it_stays_on_its_line_and_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A note that is longer than the line is cut, so that the next drawing replaces all of it."""
    with terminal(monkeypatch) as shown:
        with progress_bar("weights") as show:
            show(0.25, "3 of 12 GB, " + "a-long-name " * 20)
            show(1.5, "done")
        lines = re.split(r"[\r\n]+", os.read(shown, 65536).decode())
    assert max(map(len, lines)) <= COLUMNS
    assert any(re.fullmatch(r"weights \S+ +25% 3 of 12 GB, a-long-name.*", each) for each in lines)
    assert any(re.fullmatch(r"weights █{30} 100% done *", each) for each in lines)
    assert lines[-2:] == [" " * len(lines[-2]), ""]


def test_a_pipe_gets_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither a log file nor another program is sent drawings."""
    with progress_bar("weights") as show:
        show(0.5, "half")
    assert capfd.readouterr() == ("", "")
