"""A volume whose file system lacks something, as network volumes do."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest


def take_away(monkeypatch: pytest.MonkeyPatch, call: str, volume: Path) -> None:
    """Let a function of `os` fail on a volume, as one does that the file system does not have.

    Args:
        monkeypatch: gives it back.
        call: the function's name; its last path, or the file it gets, decides.
        volume: below this it fails.
    """
    original = getattr(os, call)

    def refuse(*args: Any, **named: Any) -> Any:
        target = args[0] if call == "pwrite" else args[1]
        path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else target
        if Path(path).is_relative_to(volume):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), str(path))
        return original(*args, **named)

    monkeypatch.setattr(os, call, refuse)
