"""A file is removed only if it is the one that was meant."""

from pathlib import Path

import pytest

from higgs_worker.atomic_file import remove_if, write_atomic


def test_what_is_meant_is_removed(tmp_path: Path) -> None:
    """And nothing is left of it; a file that is not there is none."""
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert remove_if(path, lambda aside: aside.read_bytes() == b"one")
    assert list(tmp_path.iterdir()) == []
    assert not remove_if(path, lambda aside: True)


@pytest.mark.parametrize("links", [True, False])
def test_what_another_worker_put_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Under its name, on a volume without hard links too."""
    if not links:

        def link(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr("os.link", link)
    path = tmp_path / "a"
    path.write_bytes(b"two")
    assert not remove_if(path, lambda aside: aside.read_bytes() == b"one")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a", b"two")]


def test_the_newest_stays(tmp_path: Path) -> None:
    """If a third one comes while the second is looked at, the second goes."""
    path = tmp_path / "a"
    path.write_bytes(b"two")

    def look(aside: Path) -> bool:
        path.write_bytes(b"three")
        return False

    assert not remove_if(path, look)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a", b"three")]


def test_a_check_ends_a_write(tmp_path: Path) -> None:
    """What was there stays, and nothing is left of the new file."""
    path = tmp_path / "a"
    path.write_bytes(b"one")

    def check() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        write_atomic(path, b"two", replace=True, check=check)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a", b"one")]
