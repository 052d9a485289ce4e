"""A commit that is of no use: another takes its place, or one sentence says what to do."""

import argparse
import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.checkpoints import Checkpoints, checkpoint_source
from higgs_worker.cli import fetch
from higgs_worker.engine.parameters import Weights
from higgs_worker.errors import InvalidCheckpoint
from higgs_worker.load import load_model
from higgs_worker.settings import Settings
from higgs_worker.weights.blob import Blob
from higgs_worker.weights.locate import DEMO_DIRECTORY, locate_checkpoint
from higgs_worker.weights.source import LocatedCheckpoint, RefusedCheckpoint
from tests.fakes import hub
from tests.fakes.hub import BLOCK, CALM, REPO, StandIn
from tests.weights.test_faults import FILES_THERE, GIVE_UP, assert_right, pull, source_of
from tests.weights.test_locate import blob_of, flip

ERROR = InvalidCheckpoint("it is another model's", details={"problems": ["missing x"]})
OTHER = FILES_THERE | {"model.safetensors": hub.noise(9 * BLOCK, 3)}


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """Serve the toy model."""
    with StandIn(FILES_THERE) as each:
        yield each


def another(
    standin: StandIn, volume: Path, refused: LocatedCheckpoint, **changes: Any
) -> LocatedCheckpoint:
    """Look for what takes the place of a refused checkpoint."""
    revision = changes.pop("revision", None)
    source = replace(source_of(standin, volume, **changes), limits=CALM)
    return locate_checkpoint(
        REPO, "model", source, revision=revision, in_place_of=RefusedCheckpoint(refused, ERROR)
    )


def refusal(standin: StandIn, volume: Path, refused: LocatedCheckpoint, **changes: Any) -> str:
    """Return the sentence that says that there is nothing else."""
    with pytest.raises(InvalidCheckpoint, match=r"^it is another model's\. This is ") as caught:
        another(standin, volume, refused, **changes)
    assert caught.value.details == ERROR.details
    return caught.value.message


def record_in(volume: Path) -> Path:
    """Return the volume's record of `main`."""
    return volume / "bosonai" / "models--bosonai--toy" / "refs" / "main"


def test_a_main_that_was_mended_is_pulled(standin: StandIn, tmp_path: Path) -> None:
    """The hub is asked once; the newer commit is recorded, and later starts need no network."""
    bad = pull(standin, tmp_path)
    standin.files = OTHER
    standin.requests.clear()
    found = another(standin, tmp_path, bad)
    assert found.revision == standin.commit != bad.revision
    assert_right(found, OTHER)
    assert len(standin.asked("api")) == 1
    assert record_in(tmp_path).read_text() == found.revision
    standin.requests.clear()
    assert pull(standin, tmp_path) == found
    assert another(standin, tmp_path, bad) == found, "another worker has moved the record"
    assert standin.requests == []


def test_a_main_that_was_not(standin: StandIn, tmp_path: Path) -> None:
    """One request, no pull, and a sentence with the commit, its record and the way out."""
    bad = pull(standin, tmp_path)
    standin.requests.clear()
    said = refusal(standin, tmp_path, bad)
    assert said.endswith(
        f"This is {REPO} at commit {bad.revision}, which {record_in(tmp_path)} names as main; the "
        "hub has no newer one; set HIGGS_MODEL_REVISION to a commit that works, or remove that "
        "record to have the hub asked anew"
    )
    assert len(standin.requests) == 1


def test_a_hub_that_cannot_be_asked(standin: StandIn, tmp_path: Path) -> None:
    """Offline or without an answer, what is wrong is still the commit."""
    bad = pull(standin, tmp_path)
    standin.requests.clear()
    assert "HF_HUB_OFFLINE keeps the hub from" in refusal(standin, tmp_path, bad, offline=True)
    assert standin.requests == []
    standin.spoil("api", GIVE_UP)
    assert "asking the hub for a newer one failed: bosonai/toy could not be pulled" in refusal(
        standin, tmp_path, bad
    )


def test_a_commit_that_was_chosen_stays(standin: StandIn, tmp_path: Path) -> None:
    """What the operator has set is not replaced by something else."""
    source = source_of(standin, tmp_path)
    bad = locate_checkpoint(REPO, "model", source, revision=standin.commit)
    standin.files = OTHER
    standin.requests.clear()
    said = refusal(standin, tmp_path, bad, revision=bad.revision)
    assert f"{bad.revision}, which HIGGS_MODEL_REVISION names; set it to another" in said
    assert standin.requests == []


def test_a_directory_has_nothing_else(standin: StandIn, tmp_path: Path) -> None:
    """The error is as it was."""
    refused = RefusedCheckpoint(LocatedCheckpoint(tmp_path, None), ERROR)
    source = source_of(standin, tmp_path)
    with pytest.raises(InvalidCheckpoint, match=r"^it is another model's$"):
        locate_checkpoint(str(tmp_path), "model", source, in_place_of=refused)


def test_bits_that_flipped_unnoticed_are_repaired(standin: StandIn, tmp_path: Path) -> None:
    """Before a commit is given up, all of its bytes are checked, also those found right before."""
    found = pull(standin, tmp_path)
    flip(blob_of(found), 5)
    Blob(blob_of(found), blob_of(found).with_suffix(".blocks"), BLOCK).remember()
    assert pull(standin, tmp_path) == found
    standin.num_body_bytes.clear()
    assert another(standin, tmp_path, found) == found
    assert_right(found)
    assert standin.num_body_bytes[f"{found.revision}/model.safetensors"] <= BLOCK


def test_workers_agree_on_what_comes_instead(standin: StandIn, tmp_path: Path) -> None:
    """Of four that refuse a commit at once, one asks and pulls; the others use what it pulled."""
    bad = pull(standin, tmp_path)
    standin.files = OTHER
    standin.requests.clear()
    with ThreadPoolExecutor(4) as workers:
        found = list(workers.map(lambda _: another(standin, tmp_path, bad), range(4)))
    assert {each.revision for each in found} == {standin.commit}
    assert len(standin.asked("api")) == 1


def test_a_recorded_commit_that_cannot_be_pulled_is_passed_over(
    standin: StandIn, tmp_path: Path
) -> None:
    """What was recorded before its pull could end is asked for once more, if it is wrong."""
    old = standin.commit

    def check(directory: Path) -> None:
        if directory.name == old:
            raise InvalidCheckpoint("it is another model's")

    source = source_of(standin, tmp_path)
    with pytest.raises(InvalidCheckpoint, match=f"at commit {old}, .* has no newer one"):
        locate_checkpoint(REPO, "model", source, check=check)
    assert record_in(tmp_path).read_text() == old
    assert standin.asked("store") == []
    standin.files = OTHER
    found = locate_checkpoint(REPO, "model", source, check=check)
    assert found.revision == standin.commit
    assert_right(found, OTHER)


@pytest.fixture
def settings(standin: StandIn, tmp_path: Path) -> Settings:
    """Return settings with the stand-in's repository as the codec of the demo model."""
    names = {"HIGGS_MODEL": "demo", "HIGGS_CODEC": REPO, "HF_ENDPOINT": standin.endpoint}
    return Settings.from_env(names | {"HIGGS_VOLUME": str(tmp_path), "HIGGS_MAX_SLOTS": "1"})


def test_each_checkpoint_is_replaced_once(standin: StandIn, settings: Settings) -> None:
    """If what takes its place is refused as well, that is the error."""
    config = {"config.json": b'{"model_type": "higgs_audio_v2_tokenizer"}'}
    standin.files |= config
    checkpoints = Checkpoints(settings)
    bad = checkpoints.codec
    standin.files = OTHER | config
    checkpoints.replace("codec", ERROR)
    assert checkpoints.codec.revision == standin.commit != bad.revision
    with pytest.raises(InvalidCheckpoint, match=r"^it is another model's$"):
        checkpoints.replace("codec", ERROR)


def test_who_asks_for_a_check_gets_one(standin: StandIn, settings: Settings) -> None:
    """`fetch` reads all bytes, whatever the setting, and repairs what no start has noticed."""
    standin.files["config.json"] = b'{"model_type": "higgs_audio_v2_tokenizer"}'
    found = Checkpoints(settings).codec
    flip(blob_of(found), 5)
    Blob(blob_of(found), blob_of(found).with_suffix(".blocks"), BLOCK).remember()
    assert Checkpoints(settings).codec == found
    told = fetch.run(argparse.Namespace(), settings)
    assert told["codec"] == f"{found.directory} at {found.revision}"
    assert (found.directory / "model.safetensors").read_bytes() == FILES_THERE["model.safetensors"]
    assert checkpoint_source(replace(settings, verify="always")).verify_always


@pytest.mark.slow
def test_a_codec_whose_weights_were_the_language_models(
    standin: StandIn, settings: Settings
) -> None:
    """As it was published for a while: a worker that has it speaks once `main` is mended."""
    codec = {each.name: each.read_bytes() for each in (DEMO_DIRECTORY / "codec").iterdir()}
    weights = (DEMO_DIRECTORY / "model" / "model.safetensors").read_bytes()
    standin.files = codec | {"model.safetensors": weights}
    with pytest.raises(InvalidCheckpoint) as caught:
        load_model(settings)
    assert "missing acoustic_decoder" in caught.value.message
    assert "set HIGGS_CODEC_REVISION" in caught.value.message
    assert not [each for each in gc.get_objects() if type(each) is Weights], "memory is held"
    standin.files = codec
    model = load_model(settings)
    model.engine.close()
    model.codec.close()
    assert record_in(settings.volume).read_text() == standin.commit
