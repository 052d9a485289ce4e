"""Weights that are there: found, checked, repaired, and used without a network."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from higgs_worker.errors import (
    InvalidSettings,
    VolumeUnusable,
    WeightsNotFound,
    WeightsUnavailable,
)
from higgs_worker.weights.blob import Blob
from higgs_worker.weights.checkpoint_files import FILES
from higgs_worker.weights.locate import (
    DEMO_DIRECTORY,
    CheckpointSource,
    LocatedCheckpoint,
    is_cached,
    locate_checkpoint,
)
from higgs_worker.weights.progress import TransferProgress
from higgs_worker.weights.source import DIRECTORY
from tests.fakes import hub
from tests.fakes.hub import BLOCK, CALM, REPO, StandIn
from tests.fakes.odd_files import ODD_FILES, in_time, put
from tests.weights.test_faults import FILES_THERE, GIVE_UP, assert_right, pull, source_of

WEIGHTS = "model.safetensors"


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """Serve the toy model."""
    with StandIn(FILES_THERE) as each:
        yield each


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a volume that the toy model was pulled to."""
    volume = tmp_path_factory.mktemp("template")
    with StandIn(FILES_THERE) as each:
        pull(each, volume)
    return volume


@pytest.fixture
def found(template: Path, tmp_path: Path) -> LocatedCheckpoint:
    """Return the toy model on the volume `tmp_path`, as a pull leaves it."""
    shutil.copytree(template / DIRECTORY, tmp_path / DIRECTORY, symlinks=True)
    (snapshot,) = tmp_path.glob(f"{DIRECTORY}/*/snapshots/*")
    return LocatedCheckpoint(snapshot, snapshot.name)


def blob_of(found: LocatedCheckpoint, name: str = WEIGHTS) -> Path:
    """Return where a file's bytes are."""
    return (found.directory / name).resolve()


def flip(path: Path, position: int) -> None:
    """Change one bit, as a failing disk does: no time stamp tells of it."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_the_demo_and_directories_need_no_hub(tmp_path: Path) -> None:
    """The embedded model and a directory are taken as they are."""
    source = CheckpointSource(volume=tmp_path / "none")
    assert locate_checkpoint("demo", "codec", source) == LocatedCheckpoint(
        DEMO_DIRECTORY / "codec", None
    )
    assert locate_checkpoint(str(tmp_path), "model", source) == LocatedCheckpoint(tmp_path, None)
    assert is_cached("demo", "model", source)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["nowhere", "/no/such/dir", "a/../b", "a/b/c", "https://a/b"])
def test_what_is_neither(name: str, tmp_path: Path) -> None:
    """A name that can be nothing is refused before anybody is asked."""
    with pytest.raises(WeightsNotFound, match="HIGGS_MODEL="):
        locate_checkpoint(name, "model", CheckpointSource(volume=tmp_path))


@pytest.mark.parametrize("revision", ["../main", "a b", "-x", "a" * 300, "a/../../b"])
def test_what_is_no_revision(revision: str, tmp_path: Path) -> None:
    """A revision is also a file's name, and never leads anywhere else."""
    with pytest.raises(InvalidSettings, match="HIGGS_CODEC_REVISION"):
        locate_checkpoint("a/b", "codec", CheckpointSource(volume=tmp_path), revision=revision)


def test_other_tools_read_what_was_pulled(found: LocatedCheckpoint, tmp_path: Path) -> None:
    """The layout is that of Hugging Face's own tools."""
    cache = tmp_path / "bosonai"
    path = huggingface_hub.try_to_load_from_cache(REPO, WEIGHTS, cache_dir=cache)
    assert path == str(found.directory / WEIGHTS)
    scanned = huggingface_hub.scan_cache_dir(cache)
    assert not scanned.warnings
    (repo,) = scanned.repos
    assert (repo.repo_id, repo.nb_files) == (REPO, len(FILES["model"]))


@pytest.mark.parametrize("position", [0, 5 * BLOCK + 9, len(FILES_THERE[WEIGHTS]) - 1])
def test_a_flipped_bit_is_found_and_repaired(
    standin: StandIn,
    found: LocatedCheckpoint,
    tmp_path: Path,
    position: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Damage that no time stamp shows is found before use, once, and only its block is fetched."""
    flip(blob_of(found), position)
    standin.num_body_bytes.clear()
    assert pull(standin, tmp_path) == found
    assert_right(found)
    assert 0 < standin.num_body_bytes[f"{found.revision}/{WEIGHTS}"] <= BLOCK
    assert caplog.text.count("damaged files") == 1


def num_checked(standin: StandIn, volume: Path, **changes: Any) -> int:
    """Return how many bytes a start checks."""
    told: list[TransferProgress] = []
    source = source_of(standin, volume, **changes)
    locate_checkpoint(REPO, "model", source, on_progress=told.append)
    assert {each.stage for each in told} <= {"checking"}
    return told[-1].num_bytes if told else 0


ALL_BYTES = sum(len(FILES_THERE[name]) for name in FILES["model"])


def test_bytes_are_checked_once(standin: StandIn, found: LocatedCheckpoint, tmp_path: Path) -> None:
    """What a pull or a start has checked, no later start reads for that, unless it is to."""
    assert num_checked(standin, tmp_path) == ALL_BYTES  # copied from elsewhere
    assert num_checked(standin, tmp_path) == 0
    assert num_checked(standin, tmp_path, verify_always=True) == ALL_BYTES
    assert num_checked(standin, tmp_path) == 0
    pull(standin, tmp_path / "other")
    assert num_checked(standin, tmp_path / "other") == 0
    for change in (
        lambda path: path.write_bytes(FILES_THERE[WEIGHTS]),
        lambda path: path.touch(),
        lambda path: shutil.copy2(path, tmp_path / "copy") and (tmp_path / "copy").replace(path),
    ):
        change(blob_of(found))
        assert num_checked(standin, tmp_path) == len(FILES_THERE[WEIGHTS])
        assert num_checked(standin, tmp_path) == 0
    assert_right(found)


def test_what_once_does_not_notice(
    standin: StandIn, found: LocatedCheckpoint, tmp_path: Path
) -> None:
    """A bit that flips on the disk after the check is found by `always` alone, and repaired."""
    pull(standin, tmp_path)
    flip(blob_of(found), 5)
    Blob(blob_of(found), blob_of(found).with_suffix(".blocks"), BLOCK).remember()
    assert num_checked(standin, tmp_path) == 0
    assert pull(standin, tmp_path, verify_always=True) == found
    assert_right(found)


@pytest.mark.parametrize("kind", [*ODD_FILES, "another's"])
def test_a_bad_mark_vouches_for_nothing(
    standin: StandIn, found: LocatedCheckpoint, tmp_path: Path, kind: str
) -> None:
    """Whatever lies in a mark's place: the bytes are checked, and no network is needed."""
    pull(standin, tmp_path)
    mark = blob_of(found).with_suffix(".verified")
    if kind == "another's":
        shutil.copy(blob_of(found, "config.json").with_suffix(".verified"), mark)
    else:
        put(kind, mark)
    assert in_time(lambda: num_checked(standin, tmp_path, offline=True)) == len(
        FILES_THERE[WEIGHTS]
    )
    if kind != "directory":  # which is left to its owner
        assert num_checked(standin, tmp_path) == 0


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (WEIGHTS, lambda data: data[: 7 * BLOCK + 3]),
        (WEIGHTS, lambda data: data + bytes(3 * BLOCK)),
        (WEIGHTS, lambda data: b""),
        ("config.json", lambda data: data.replace(b"true", b"1234")),
    ],
    ids=["truncated", "longer", "empty", "small file"],
)
def test_other_damage_is_repaired(
    standin: StandIn,
    found: LocatedCheckpoint,
    tmp_path: Path,
    name: str,
    change: "hub.Callable[[bytes], bytes]",
) -> None:
    """Whatever became of a file, afterwards it is right."""
    blob_of(found, name).write_bytes(change(FILES_THERE[name]))
    assert_right(pull(standin, tmp_path))


def test_damage_without_a_hub(standin: StandIn, found: LocatedCheckpoint, tmp_path: Path) -> None:
    """What is damaged and cannot be repaired is not used."""
    flip(blob_of(found), 1000)
    with pytest.raises(WeightsNotFound, match="HF_HUB_OFFLINE"):
        pull(standin, tmp_path, offline=True)
    standin.spoil("api", GIVE_UP)
    with pytest.raises(WeightsUnavailable):
        pull(standin, tmp_path)


@pytest.mark.parametrize("journal", ["", "0 not a digest\n", "torn", None, "0 " + 64 * "0" + "\n"])
def test_a_bad_journal_costs_time_only(
    standin: StandIn, found: LocatedCheckpoint, tmp_path: Path, journal: str | None
) -> None:
    """Without its journal a file is checked by its name, and gets a new one; no network needed."""
    path = blob_of(found).with_name(f"{blob_of(found).name}.blocks")
    right = sorted(path.read_text().splitlines())
    path.unlink() if journal is None else path.write_text(journal)
    assert pull(standin, tmp_path, offline=True) == found
    assert sorted(path.read_text().splitlines()) == right


def test_offline(standin: StandIn, tmp_path: Path) -> None:
    """Offline, what is there is used, what is not is an error, and nobody is asked."""
    with pytest.raises(WeightsNotFound, match="HF_HUB_OFFLINE keeps it from being pulled"):
        pull(standin, tmp_path, offline=True)
    assert standin.requests == []
    found = pull(standin, tmp_path)
    standin.requests.clear()
    assert pull(standin, tmp_path, offline=True) == found
    assert standin.requests == []


def test_whether_it_is_here(standin: StandIn, tmp_path: Path) -> None:
    """One can know without asking the hub or reading the files."""
    source = source_of(standin, tmp_path)
    assert not is_cached(REPO, "model", source)
    found = pull(standin, tmp_path)
    standin.requests.clear()
    assert is_cached(REPO, "model", source)
    assert is_cached(REPO, "model", source, revision=found.revision)
    assert not is_cached(REPO, "model", source, revision="0" * 40)
    assert standin.requests == []


def test_a_cache_that_is_there_is_used(standin: StandIn, tmp_path: Path) -> None:
    """What RunPod or another tool has pulled is checked and used where it is, unchanged."""
    cache = tmp_path / "huggingface-cache"
    theirs = pull(standin, cache)
    for journal in cache.glob("bosonai/*/blobs/*.blocks"):
        journal.unlink()
    before = sorted(cache.rglob("*"))
    standin.requests.clear()
    source = source_of(standin, tmp_path / "volume")
    source = replace(source, caches=(tmp_path / "none", cache / "bosonai"))
    assert locate_checkpoint(REPO, "model", source) == theirs
    assert standin.requests == []
    assert sorted(cache.rglob("*")) == before
    assert is_cached(REPO, "model", source)
    told: list[TransferProgress] = []
    locate_checkpoint(REPO, "model", source, on_progress=told.append)
    assert told == [], "its marks are in the volume"

    flip(blob_of(theirs), 5)
    found = locate_checkpoint(REPO, "model", source)
    assert found.directory.is_relative_to(tmp_path / "volume")
    assert_right(found)
    assert sorted(cache.rglob("*")) == before


@pytest.mark.parametrize("is_damaged", [False, True])
def test_what_another_worker_pulled_is_used(
    standin: StandIn, tmp_path: Path, is_damaged: bool
) -> None:
    """A worker whose lease is lost uses the other one's files, although its own pull failed."""
    source = replace(source_of(standin, tmp_path), limits=CALM)
    if is_damaged:
        flip(blob_of(locate_checkpoint(REPO, "model", source)), 5)
        standin.requests.clear()
    others: list[LocatedCheckpoint] = []

    def take_over(request: hub.Request, answer: hub.Answer) -> Iterator[bytes]:
        lease = tmp_path / DIRECTORY / "models--bosonai--toy" / "leases" / "9"
        lease.touch()
        os.utime(lease, (0, 0))  # released
        others.append(locate_checkpoint(REPO, "model", source))
        return GIVE_UP(request, answer)

    standin.spoil("api", take_over)
    found = locate_checkpoint(REPO, "model", source)
    assert [found] == others
    assert_right(found)
    assert len(standin.asked("api")) == 2


def test_leftovers_are_swept(standin: StandIn, tmp_path: Path) -> None:
    """What killed tools left half done is gone after the next pull."""
    blobs = tmp_path / "bosonai" / "models--bosonai--toy" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{'a' * 64}.incomplete").write_bytes(b"of another commit")
    (blobs / f"{'b' * 64}.1a2b3c4d.incomplete").write_bytes(b"of another tool")
    assert_right(pull(standin, tmp_path))


def test_a_partial_file_without_its_journal(standin: StandIn, tmp_path: Path) -> None:
    """Bytes that nobody vouches for are fetched again."""
    blobs = tmp_path / "bosonai" / "models--bosonai--toy" / "blobs"
    blobs.mkdir(parents=True)
    etag = hashlib.sha256(FILES_THERE[WEIGHTS]).hexdigest()
    (blobs / f"{etag}.incomplete").write_bytes(bytes(20 * BLOCK))
    assert_right(pull(standin, tmp_path))


def test_not_enough_space(standin: StandIn, tmp_path: Path) -> None:
    """What cannot fit is refused before anything is pulled."""

    def huge(_: hub.Request, answer: hub.Answer) -> Iterator[bytes]:
        listing = json.loads(answer.body)
        listing["siblings"][-1]["lfs"]["size"] = 10**16
        return hub.Answer(json.dumps(listing).encode()).pieces()

    standin.spoil("api", huge)
    with pytest.raises(VolumeUnusable, match=r"needs 10000000.07 GB more and .* enlarge"):
        pull(standin, tmp_path)
    assert "store" not in {each.kind for each in standin.requests}


def test_a_volume_that_keeps_no_marks(standin: StandIn, tmp_path: Path) -> None:
    """A cache is used where the volume cannot be written; it is then checked at every start."""
    theirs = pull(standin, tmp_path / "cache")
    for mark in tmp_path.glob("cache/bosonai/*/blobs/*.verified"):
        mark.unlink()
    (tmp_path / "file").touch()
    source = replace(source_of(standin, tmp_path / "file"), caches=(tmp_path / "cache/bosonai",))
    for _ in range(2):
        assert locate_checkpoint(REPO, "model", source) == theirs


def test_a_volume_that_cannot_be_written(standin: StandIn, tmp_path: Path) -> None:
    """The sentence names the volume and the setting."""
    (tmp_path / "file").touch()
    with pytest.raises(VolumeUnusable, match="set HIGGS_VOLUME"):
        pull(standin, tmp_path / "file")
