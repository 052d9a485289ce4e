"""The memory that a container's limit leaves, on trees of files as the kernel lays them out."""

from pathlib import Path

import pytest

from higgs_worker.engine.container import container_free_memory

MB = 1 << 20


def lay_out(group: Path, limit: str, usage: int, unused: int, version: int) -> None:
    """Write one group's files."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    group.mkdir(parents=True, exist_ok=True)
    (group / names[0]).write_text(f"{limit}\n")
    (group / names[1]).write_text(f"{usage}\n")
    (group / "memory.stat").write_text(f"anon {usage - unused}\n{names[2]} {unused}\n")


def free(root: Path, *lines: str) -> int | None:
    """Ask as a process of the groups that the lines name."""
    (root / "own").write_text("".join(f"{line}\n" for line in lines))
    return container_free_memory(root / "groups", root / "own")


def test_the_limit_of_version_2(tmp_path: Path) -> None:
    """Limit less usage; what only caches files counts as free."""
    lay_out(tmp_path / "groups", str(100 * MB), 70 * MB, 20 * MB, 2)
    assert free(tmp_path, "0::/") == 50 * MB


def test_the_nearest_limit_counts(tmp_path: Path) -> None:
    """A group above may leave less than the own one; one without a limit is no bound."""
    lay_out(tmp_path / "groups/pod/box", str(100 * MB), 10 * MB, 0, 2)
    lay_out(tmp_path / "groups/pod", str(200 * MB), 170 * MB, 0, 2)
    lay_out(tmp_path / "groups", "max", 900 * MB, 0, 2)
    assert free(tmp_path, "0::/pod/box") == 30 * MB


@pytest.mark.parametrize("path", ["/", "/docker/4f2c", "/../4f2c"])
def test_the_limit_of_version_1(path: str, tmp_path: Path) -> None:
    """The memory controller's group, mounted at the root even where the path is the host's."""
    lay_out(tmp_path / "groups/memory", str(64 * MB), 4 * MB, 1 * MB, 1)
    assert free(tmp_path, "5:cpu,cpuacct:/x", f"3:memory:{path}", "0::/") == 61 * MB


def test_more_in_use_than_the_limit_is_none_left(tmp_path: Path) -> None:
    """A limit that was lowered below the usage leaves nothing, and not less."""
    lay_out(tmp_path / "groups", str(10 * MB), 30 * MB, 0, 2)
    assert free(tmp_path, "0::/") == 0


def test_without_a_limit_there_is_none(tmp_path: Path) -> None:
    """No groups, no memory controller, or no limit: the machine's memory alone counts."""
    assert container_free_memory(tmp_path, tmp_path / "missing") is None
    assert free(tmp_path, "0::/") is None
    lay_out(tmp_path / "groups", "max", 30 * MB, 0, 2)
    assert free(tmp_path, "0::/", "5:cpu:/") is None
