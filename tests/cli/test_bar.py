"""The progress bar: one line of a terminal, and gone at the end."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Callable
from contextlib import suppress

import pytest

from higgs_worker.cli.bar import progress_bar

COLUMNS = 80


def shown_by(draw: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a terminal is sent that stderr is."""
    terminal, written = pty.openpty()
    fcntl.ioctl(written, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    with os.fdopen(written, "w", encoding="utf-8") as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        draw()
    shown = b""
    with suppress(OSError):  # the end, once all has come: the system passes it on piece by piece
        while piece := os.read(terminal, 65536):
            shown += piece
    os.close(terminal)
    return shown.decode()


def test_it_stays_on_its_line_and_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A note that is longer than the line is cut, so that the next drawing replaces all of it."""

    def draw() -> None:
        with progress_bar("weights") as show:
            show(0.25, "3 of 12 GB, " + "a-long-name " * 20)
            show(1.5, "done")

    lines = re.split(r"[\r\n]+", shown_by(draw, monkeypatch))
    assert max(map(len, lines)) <= COLUMNS
    assert any(re.fullmatch(r"weights \S+ +25% 3 of 12 GB, a-long-name.*", each) for each in lines)
    assert any(re.fullmatch(r"weights █{30} 100% done *", each) for each in lines)
    assert lines[-2:] == [" " * len(lines[-2]), ""]


def test_a_pipe_gets_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither a log file nor another program is sent drawings."""
    with progress_bar("weights") as show:
        show(0.5, "half")
    assert capfd.readouterr() == ("", "")
