"""A control group of its own for a command: the kernel kills what exceeds its memory."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOTS = {
    Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes",
    Path("/sys/fs/cgroup"): "memory.max",
}
"""Where groups are made, and the file of a group's limit: version 1, then 2."""


class MemoryGroup:
    """Runs Python within a limit of memory."""

    def __init__(self, directory: Path) -> None:
        self._procs = directory / "cgroup.procs"

    def run(
        self, code: str, variables: Mapping[str, str], timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run code in a process of the group, and wait for its end."""
        enter = f"import os; open({str(self._procs)!r}, 'w').write(str(os.getpid()))\n"
        return subprocess.run(
            [sys.executable, "-c", enter + code],
            env=dict(variables),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


@contextlib.contextmanager
def memory_group(name: str, limit_bytes: int) -> Iterator[MemoryGroup]:
    """Make a group with a limit; skip the test where the machine lets nobody make one."""
    for root, limit in ROOTS.items():
        group = root / name
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / limit).exists():
                (group / limit).write_text(str(limit_bytes))
                yield MemoryGroup(group)
                return
        finally:
            group.rmdir()
    pytest.skip("needs a control group of its own: root, and a memory controller that is writable")
