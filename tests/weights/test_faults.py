"""Pulling weights from a hub that misbehaves: complete and right, or one clear sentence."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.errors import WeightsNotFound, WeightsRefused, WeightsUnavailable, WorkerError
from higgs_worker.weights.checkpoint_files import FILES
from higgs_worker.weights.locate import (
    CheckpointSource,
    LocatedCheckpoint,
    locate_checkpoint,
)
from higgs_worker.weights.progress import TransferProgress
from tests.fakes import hub
from tests.fakes.hub import BLOCK, CALM, QUICK, REPO, TOKEN, StandIn

FILES_THERE = {
    "README.md": b"not needed",
    "config.json": b'{"toy": true}',
    "tokenizer.json": hub.noise(5000, 1),
    "model.safetensors": hub.noise(10 * BLOCK + 777, 2),
}


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """Serve the toy model."""
    with StandIn(FILES_THERE) as each:
        yield each


def source_of(standin: StandIn, volume: Path, **changes: Any) -> CheckpointSource:
    """Return where the tests pull from."""
    limits = replace(QUICK, **changes.pop("limits", {}))
    return CheckpointSource(
        volume=volume, endpoint=standin.endpoint, caches=(), limits=limits, **changes
    )


def pull(standin: StandIn, volume: Path, **changes: Any) -> LocatedCheckpoint:
    """Pull the model."""
    return locate_checkpoint(REPO, "model", source_of(standin, volume, **changes))


def assert_right(found: LocatedCheckpoint, files: dict[str, bytes] = FILES_THERE) -> None:
    """Check that every needed file is there with its bytes, and none half done."""
    for name in FILES["model"]:
        assert (found.directory / name).read_bytes() == files[name]
    assert sorted(each.name for each in found.directory.iterdir()) == sorted(FILES["model"])
    assert not list((found.directory.parent.parent / "blobs").glob("*.incomplete"))


def refusal(standin: StandIn, volume: Path, kind: type[WorkerError], **changes: Any) -> str:
    """Return the sentence with which pulling fails; no file may have its name afterwards."""
    with pytest.raises(kind) as caught:
        pull(standin, volume, **changes)
    assert_nothing_named(volume, caught.value)
    return caught.value.message


def assert_nothing_named(volume: Path, error: WorkerError) -> None:
    """Check that a failed pull left no complete file, and no signed address in its error."""
    assert not list(volume.glob("bosonai/*/snapshots/*/model.safetensors"))
    assert "signature" not in error.message


def test_a_repository_is_pulled_once(standin: StandIn, tmp_path: Path) -> None:
    """The needed files come, each byte once; afterwards there is nothing to ask."""
    source = replace(source_of(standin, tmp_path), limits=CALM)
    found = locate_checkpoint(REPO, "model", source)
    assert_right(found)
    assert found.revision == standin.commit
    sent = {name.split("/")[1]: num for name, num in standin.num_body_bytes.items() if num > 0}
    weights = sum(len(FILES_THERE[name]) for name in FILES["model"])
    assert sum(sent.get(name, 0) for name in FILES["model"]) <= weights + 1  # one byte: a probe
    assert "README.md" not in str(standin.requests)
    standin.requests.clear()
    assert pull(standin, tmp_path) == found
    assert standin.requests == []


PASSING: dict[str, tuple[str, hub.Fault, int]] = {
    "store cuts": ("store", hub.cut(30_000), 5),
    "store cuts at once": ("store", hub.cut(0), 3),
    "store fails": ("store", hub.status(500), 3),
    "store refuses": ("store", hub.status(403), 2),
    "store resets": ("store", hub.reset, 5),
    "store hangs": ("store", hub.hang, 1),
    "store hangs inside": ("store", hub.hang_inside, 2),
    "store trickles": ("store", hub.trickle, 1),
    "store trickles its head": ("store", hub.trickling_head, 1),
    "store sends wrong bytes": ("store", hub.wrong_bytes, 3),
    "hub fails": ("resolve", hub.status(503), 3),
    "hub limits the rate": ("resolve", hub.status(429, Retry_After="0"), 2),
    "hub resets": ("resolve", hub.reset, 3),
    "hub hangs": ("resolve", hub.hang, 1),
    "hub cuts": ("resolve", hub.cut(3), 2),
    "listing fails": ("api", hub.status(500), 3),
    "listing limits the rate": ("api", hub.status(429, RateLimit='"api";r=0;t=0'), 1),
    "listing resets": ("api", hub.reset, 3),
    "listing hangs": ("api", hub.hang, 1),
    "listing hangs inside": ("api", hub.hang_inside, 1),
    "listing is cut": ("api", hub.cut(20), 1),
    "listing trickles": ("api", hub.trickle, 1),
}
"""Faults that pass: what has them, and how often."""

LASTING: dict[str, tuple[str, hub.Fault, str]] = {
    "store resets": ("store", hub.reset, "could not be pulled"),
    "store cuts": ("store", hub.cut(0), "peer closed connection"),
    "store fails": (
        "store",
        hub.status(500),
        "127.0.0.2 answered 500, and next to nothing came for 3 s",
    ),
    "store hangs": ("store", hub.hang, "could not be pulled"),
    "store trickles": ("store", hub.trickle, "almost nothing"),
    "listing hangs": ("api", hub.hang, "did not answer"),
    "listing fails": ("api", hub.status(503), "127.0.0.1 answered 503"),
    "listing is cut": ("api", hub.cut(20), "could not be pulled"),
}
"""Faults that do not pass, and a part of the sentence that says so."""

GIVE_UP = hub.status(429, Retry_After="900")
"""A fault that ends a pull at once."""


def pull_all(
    faults: dict[str, tuple[str, hub.Fault, int]],
    parent: Path,
    limits_of: Callable[[str], dict[str, float]] = lambda _: {},
) -> dict[str, LocatedCheckpoint | WorkerError]:
    """Pull from a hub with each fault, side by side: all of them mostly wait."""

    def attempt(name: str) -> LocatedCheckpoint | WorkerError:
        kind, fault, times = faults[name]
        with StandIn(FILES_THERE) as standin:
            standin.spoil(kind, fault, times=times)
            try:
                return pull(standin, parent / name, limits=limits_of(name))
            except WorkerError as error:
                return error

    for name in faults:
        (parent / name).mkdir()
    with ThreadPoolExecutor(8) as threads:
        return dict(zip(faults, threads.map(attempt, faults), strict=True))


@pytest.fixture(scope="module")
def after_passing(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, LocatedCheckpoint | WorkerError]:
    """Return what pulls with a passing fault found, by fault."""
    return pull_all(PASSING, tmp_path_factory.mktemp("passing"))


@pytest.fixture(scope="module")
def lasting_volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where pulls with a lasting fault put things, by fault."""
    return tmp_path_factory.mktemp("lasting")


@pytest.fixture(scope="module")
def after_lasting(lasting_volumes: Path) -> dict[str, LocatedCheckpoint | WorkerError]:
    """Return how pulls with a lasting fault failed, by fault."""
    faults = {name: (kind, fault, 10_000) for name, (kind, fault, _) in LASTING.items()}

    def limits_of(name: str) -> dict[str, float]:
        """Only a hub that hangs is given up on quickly: the others answer, sooner or later."""
        wait_s = 0.3 if name.endswith("hangs") else 20.0
        return {"stall_s": 3.0, "answer_s": wait_s, "silence_s": wait_s}

    return pull_all(faults, lasting_volumes, limits_of)


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_changes_nothing(
    after_passing: dict[str, LocatedCheckpoint | WorkerError], name: str
) -> None:
    """After any fault that does not last, everything is there and right."""
    found = after_passing[name]
    assert isinstance(found, LocatedCheckpoint), found
    assert_right(found)


def test_another_part_is_noticed_at_once(
    standin: StandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes that say that they are from elsewhere are not kept until the checksum tells."""
    standin.spoil("store", hub.other_part, times=2)
    assert_right(pull(standin, tmp_path))
    assert "wrong bytes" not in caplog.text


def test_another_commit_is_not_taken(standin: StandIn, tmp_path: Path) -> None:
    """An answer about a commit that was not asked for is no answer."""
    first = standin.commit
    standin.files["model.safetensors"] = hub.noise(9 * BLOCK, 3)
    other = standin.commit

    def confused(_: hub.Request, answer: hub.Answer) -> Iterator[bytes]:
        return hub.Answer(answer.body.replace(first.encode(), other.encode())).pieces()

    standin.spoil("api", confused)
    found = locate_checkpoint(REPO, "model", source_of(standin, tmp_path), revision=first)
    assert found.revision == first
    assert_right(found)


def test_wrong_bytes_of_a_small_file(standin: StandIn, tmp_path: Path) -> None:
    """Git's checksum guards small files as sha256 guards large ones."""
    standin.spoil("resolve", hub.wrong_bytes, name="config.json")
    assert_right(pull(standin, tmp_path))


def test_ranges_may_be_ignored(standin: StandIn, tmp_path: Path) -> None:
    """A store that always sends whole files is read in one go, even when it is cut midway."""
    standin.honours_ranges = False
    standin.spoil("store", hub.cut(300_000), times=2)  # one of them is the probe
    assert_right(pull(standin, tmp_path))
    assert len(standin.asked("store")) == 3


def test_a_cut_body_goes_on_where_it_ended(standin: StandIn, tmp_path: Path) -> None:
    """No byte that arrived is asked for again."""
    standin.spoil("store", hub.cut(BLOCK + 5), times=3)
    assert_right(pull(standin, tmp_path, limits={"num_connections": 1}))
    starts = [each.span[0] for each in standin.asked("store") if each.span]
    assert starts[:4] == [0, 0, BLOCK + 5, 2 * (BLOCK + 5)]  # the first is the probe


@pytest.mark.parametrize("name", LASTING)
def test_a_fault_that_lasts_is_named(
    after_lasting: dict[str, LocatedCheckpoint | WorkerError], lasting_volumes: Path, name: str
) -> None:
    """A fault that does not pass ends in one sentence, after a bounded time."""
    error = after_lasting[name]
    assert isinstance(error, WeightsUnavailable)
    assert LASTING[name][2] in error.message
    assert_nothing_named(lasting_volumes / name, error)


def test_what_arrived_before_giving_up_is_kept(standin: StandIn, tmp_path: Path) -> None:
    """The next attempt fetches only what the failed one had not."""
    standin.spoil("store", hub.cut(BLOCK), times=4)  # the first one cuts the probe
    standin.spoil("store", GIVE_UP, times=10_000)
    refusal(standin, tmp_path, WeightsUnavailable, limits={"num_connections": 1})
    standin._faults.clear()
    standin.num_body_bytes.clear()
    assert_right(pull(standin, tmp_path))
    sent = standin.num_body_bytes[f"{standin.commit}/model.safetensors"]
    assert sent <= len(FILES_THERE["model.safetensors"]) - 3 * BLOCK + 1


def test_wrong_bytes_are_never_taken(standin: StandIn, tmp_path: Path) -> None:
    """A file of the right size with one wrong bit gets no name, however often it comes."""
    standin.spoil("store", hub.wrong_bytes, times=10_000)
    assert "does not have the checksum" in refusal(standin, tmp_path, WeightsUnavailable)


def test_the_deadline_stands(standin: StandIn, tmp_path: Path) -> None:
    """Slow progress is progress, but not for ever."""

    def slowly(_: hub.Request, answer: hub.Answer) -> Iterator[bytes]:
        for piece in answer.pieces():
            hub.time.sleep(0.25)
            yield piece

    standin.spoil("store", slowly, times=10_000)
    said = refusal(standin, tmp_path, WeightsUnavailable, limits={"deadline_s": 0.7, "slow_s": 60})
    assert "did not end within 0.7 s" in said


@pytest.mark.slow
def test_retry_after_is_waited_out(standin: StandIn, tmp_path: Path) -> None:
    """The hub is left alone for as long as it asks."""
    standin.spoil("resolve", hub.status(429, Retry_After="1"))
    began = hub.time.monotonic()
    assert_right(pull(standin, tmp_path))
    assert hub.time.monotonic() - began > 1


def test_more_time_than_there_is(standin: StandIn, tmp_path: Path) -> None:
    """A hub that asks for more than the deadline leaves ends the attempt at once."""
    standin.spoil("api", GIVE_UP)
    assert "asks to wait 900 s" in refusal(standin, tmp_path, WeightsUnavailable)


def test_a_branch_that_moves_is_pinned(standin: StandIn, tmp_path: Path) -> None:
    """All workers of a volume use the commit that the first one found, even a half pulled one."""
    first = standin.commit
    standin.spoil("store", GIVE_UP, times=10_000)
    refusal(standin, tmp_path, WeightsUnavailable)
    standin._faults.clear()
    standin.files["model.safetensors"] = hub.noise(9 * BLOCK, 3)
    assert standin.commit != first
    found = pull(standin, tmp_path)
    assert found.revision == first
    assert_right(found)


def test_a_configured_commit_is_used(standin: StandIn, tmp_path: Path) -> None:
    """A commit in the settings needs no record, and none is changed by it."""
    first = standin.commit
    standin.files["model.safetensors"] = hub.noise(9 * BLOCK, 3)
    later = pull(standin, tmp_path)
    found = locate_checkpoint(REPO, "model", source_of(standin, tmp_path), revision=first)
    assert (found.revision, later.revision) == (first, standin.commit)
    assert_right(found)
    assert_right(later, standin.files)


def test_the_token_does_not_follow(
    standin: StandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The hub gets the token, the store that it redirects to does not, and no log line has it."""
    standin.needs_token = True
    with caplog.at_level(logging.DEBUG):
        found = pull(standin, tmp_path, token=TOKEN)
    assert_right(found)
    assert all("authorization" in each.headers for each in standin.asked("resolve"))
    assert standin.asked("store")
    assert not any("authorization" in each.headers for each in standin.asked("store"))
    assert TOKEN not in caplog.text + repr(source_of(standin, tmp_path, token=TOKEN))


def test_equal_files_are_pulled_once(standin: StandIn, tmp_path: Path) -> None:
    """Two names for the same bytes are one file."""
    standin.files["tokenizer.json"] = standin.files["config.json"]
    assert_right(pull(standin, tmp_path), standin.files)


def test_a_renamed_repository(standin: StandIn, tmp_path: Path) -> None:
    """The old name leads to the files, and stays the name under which they are kept."""
    standin.old_name = "bosonai/old"
    standin.needs_token = True
    source = source_of(standin, tmp_path, token=TOKEN)
    found = locate_checkpoint("bosonai/old", "model", source)
    assert_right(found)
    standin.requests.clear()
    assert locate_checkpoint("bosonai/old", "model", source) == found
    assert standin.requests == []


def test_refusals_are_clear(standin: StandIn, tmp_path: Path) -> None:
    """Gated, unknown and wrongly asked: one sentence each, and no second attempt."""
    said = refusal(standin, tmp_path, WeightsRefused, token="hf_wrong")
    assert "does not know this HF_TOKEN" in said
    standin.needs_token = True
    assert "is gated and HF_TOKEN, which is not set," in refusal(standin, tmp_path, WeightsRefused)
    standin.needs_token = False
    source = source_of(standin, tmp_path)
    with pytest.raises(WeightsNotFound, match="the hub knows no bosonai/other"):
        locate_checkpoint("bosonai/other", "model", source)
    with pytest.raises(WeightsNotFound, match="no such revision; set HIGGS_MODEL_REVISION"):
        locate_checkpoint(REPO, "model", source, revision="v9")
    assert len(standin.requests) == 4


def test_a_repository_without_the_files(standin: StandIn, tmp_path: Path) -> None:
    """A repository in another format is refused before anything is pulled, and not recorded."""
    del standin.files["model.safetensors"]
    assert "has no model.safetensors" in refusal(standin, tmp_path, WeightsNotFound)
    assert not list(tmp_path.glob("bosonai/*/refs/*"))


def test_no_network(standin: StandIn, tmp_path: Path) -> None:
    """A hub that cannot be reached is said so, after the stall time."""
    standin.endpoint = "http://127.0.0.1:9"
    said = refusal(standin, tmp_path, WeightsUnavailable, limits={"stall_s": 0.3})
    assert "could not be pulled" in said
    assert "check that the hub can be reached" in said


def test_progress_is_told(standin: StandIn, tmp_path: Path) -> None:
    """Bytes grow to the total, with a rate, first while pulling and later while checking."""
    told: list[TransferProgress] = []
    source = source_of(standin, tmp_path)
    locate_checkpoint(REPO, "model", source, on_progress=told.append)
    *small, weights = (len(FILES_THERE[name]) for name in FILES["model"])
    total = sum(small) + weights
    assert {each.stage for each in told} == {"pulling"}
    assert {each.total_bytes for each in told} == {sum(small), weights}
    assert (told[-1].num_bytes, told[-1].total_bytes, told[-1].left_s) == (weights, weights, 0)
    assert told[-1].bytes_per_s > 0
    told.clear()
    always = replace(source, verify_always=True)
    locate_checkpoint(REPO, "model", always, on_progress=told.append)
    assert {each.stage for each in told} == {"checking"}
    assert told[-1].num_bytes == total
