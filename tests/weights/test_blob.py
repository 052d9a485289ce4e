"""One file under its checksum: how it grows and how it is checked."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from higgs_worker.weights.blob import Blob, Checksum
from tests.fakes.hub import noise

BLOCK = 1000
DATA = noise(4321)


def growing(tmp_path: Path, data: bytes = DATA, *blocks: int) -> Blob:
    """Return a file of which some blocks are there."""
    etag = hashlib.sha256(data).hexdigest()
    blob = Blob(tmp_path / etag, tmp_path / f"{etag}.blocks", BLOCK)
    for index in blocks:
        blob.write_block(index, bytearray(data[index * BLOCK : (index + 1) * BLOCK]))
    return blob


def test_blocks_in_any_order_make_the_file(tmp_path: Path) -> None:
    """Where a block lies depends on its number alone."""
    blob = growing(tmp_path, DATA, 4, 0, 3, 3, 1, 2)
    assert blob.held(len(DATA)) == {0, 1, 2, 3, 4}
    blob.close()
    assert blob.path.read_bytes() == DATA
    assert blob.is_right()


def test_only_vouched_blocks_are_held(tmp_path: Path) -> None:
    """A block that changed, was never journalled or whose line is torn counts as missing."""
    blob = growing(tmp_path, DATA, 0, 1, 2, 4)
    with blob.partial.open("r+b") as file:
        file.seek(BLOCK + 17)
        file.write(b"?")
    lines = blob.journal.read_text()
    blob.journal.write_text(lines[:-9])  # the machine stopped while the last one was written
    assert blob.held(len(DATA)) == {0, 2}
    assert len(blob.journal.read_text().splitlines()) == 2


def test_a_growing_file_never_exceeds_its_size(tmp_path: Path) -> None:
    """What stands beyond the end is cut off."""
    blob = growing(tmp_path, DATA, 0, 1, 2, 3, 4)
    with blob.partial.open("ab") as file:
        file.write(b"more")
    assert blob.held(len(DATA)) == {0, 1, 2, 3, 4}
    assert blob.partial.read_bytes() == DATA


def test_checking_tells_how_far_it_is(tmp_path: Path) -> None:
    """Every byte is counted once."""
    blob = growing(tmp_path, DATA, 0, 1, 2, 3, 4)
    blob.close()
    counted: list[int] = []
    assert blob.is_right(counted.append)
    assert sum(counted) == len(DATA)


def test_what_changes_during_the_check_is_not_remembered(tmp_path: Path) -> None:
    """Bytes that were checked and then overwritten are checked again."""
    blob = growing(tmp_path, DATA, 0, 1, 2, 3, 4)
    blob.close()
    counted: list[int] = []

    def overwrite_at_the_end(num_bytes: int) -> None:
        counted.append(num_bytes)
        if sum(counted) == len(DATA):
            blob.path.write_bytes(bytes(len(DATA)))

    assert blob.is_right(overwrite_at_the_end)
    assert not blob.is_remembered()
    assert not blob.is_right()
    blob.path.write_bytes(DATA)
    assert blob.is_right()
    assert blob.is_remembered()


@pytest.mark.parametrize("data", [b"", b"text\n", DATA])
def test_the_checksum_of_small_files_is_gits(data: bytes, tmp_path: Path) -> None:
    """It is what `git hash-object` says."""
    path = tmp_path / "file"
    path.write_bytes(data)
    said = subprocess.run(
        ["git", "hash-object", "--no-filters", str(path)], capture_output=True, check=True
    )
    checksum = Checksum(said.stdout.decode().strip(), len(data))
    checksum.update_from(path, 0, 2000)
    assert checksum.is_right == (len(data) <= 2000)
    checksum.update_from(path, 2000, 10**6)
    assert checksum.is_right
