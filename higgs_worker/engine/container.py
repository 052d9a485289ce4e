"""What a container's memory limit leaves free: Linux's control groups, versions 1 and 2.

The machine's own free memory says nothing of it; who takes more is killed without a word.
"""

from collections.abc import Iterator
from pathlib import Path

_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")


def container_free_memory(
    groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> int | None:
    """Give the bytes up to the nearest limit of this process's groups; None: there is no limit.

    Args:
        groups: where the groups are mounted.
        own: the file that names this process's groups.
    """
    if not own.exists():
        return None
    rooms: list[int] = []
    for line in own.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            rooms += _rooms(groups, path, *_V2)
        elif "memory" in controllers.split(","):
            rooms += _rooms(groups / "memory", path, *_V1)
    return min(rooms, default=None)


def _rooms(root: Path, path: str, limit: str, usage: str, unused: str) -> Iterator[int]:
    """Give what each group from `path` up to the root leaves.

    Inside a container the path may be the host's, and then only the root exists.
    """
    directory = root.joinpath(*(part for part in path.split("/") if part not in ("", "..")))
    for group in (directory, *directory.parents):
        if (group / limit).exists() and (most := (group / limit).read_text().strip()) != "max":
            # Files that were read and are not in use, weights among them, count as used but go
            # first when memory is short.
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            yield max(0, int(most) - int((group / usage).read_text()) + int(stat[unused]))
        if group == root:
            return
