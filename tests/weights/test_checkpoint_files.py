"""Which files are pulled: the small ones first, then what they say, and nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from higgs_worker.checkpoint.shard_index import INDEX
from higgs_worker.codec import encoder_loader, loader
from higgs_worker.codec.config import CodecConfig
from higgs_worker.codec.encoder_config import EncoderConfig
from higgs_worker.engine import parameters
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.loader import load
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.errors import InvalidCheckpoint, WeightsNotFound
from higgs_worker.weights.checkpoint_files import UNREAD, all_files
from higgs_worker.weights.locate import DEMO_DIRECTORY, is_cached, locate_checkpoint
from tests.fakes import hub
from tests.fakes.hub import BLOCK, REPO, StandIn
from tests.oracles.language_model import random_model
from tests.weights.test_faults import FILES_THERE, pull, source_of
from tests.weights.test_locate import blob_of

FIRST, SECOND, THIRD = (f"model-0000{each}-of-00003.safetensors" for each in (1, 2, 3))
SHARDS = {"a": FIRST, "b": FIRST, "c": SECOND, "text_lm_head.weight": THIRD}
SMALL = {name: FILES_THERE[name] for name in ("config.json", "tokenizer.json")}


def sharded(shards: object = SHARDS) -> dict[str, bytes]:
    """Return the files of a repository in shards."""
    index = {INDEX: json.dumps({"weight_map": shards}).encode()}
    names = enumerate((FIRST, SECOND, THIRD))
    return SMALL | index | {name: hub.noise(3 * BLOCK + 9, each) for each, name in names}


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """Serve a repository in shards."""
    with StandIn(sharded()) as each:
        yield each


def test_only_the_shards_that_are_read_are_pulled(standin: StandIn, tmp_path: Path) -> None:
    """Pulled, found, checked and repaired like one file; a shard that nobody reads is left."""
    found = pull(standin, tmp_path)
    names = {*SMALL, INDEX, FIRST, SECOND}
    assert {each.name for each in found.directory.iterdir()} == names
    assert {each.name.split("/")[1] for each in standin.asked("resolve")} == names
    assert len(standin.asked("api")) == 1
    standin.requests.clear()
    assert is_cached(REPO, "model", source_of(standin, tmp_path))
    assert pull(standin, tmp_path) == found
    assert standin.requests == []
    for name in (SECOND, INDEX):
        blob_of(found, name).write_bytes(b"{}")
        assert pull(standin, tmp_path) == found
        for each in names:
            assert (found.directory / each).read_bytes() == standin.files[each]


def test_a_model_that_comes_in_shards_is_equal(standin: StandIn, tmp_path: Path) -> None:
    """From transformers' `save_pretrained` through the hub into memory, bit by bit."""
    model = random_model(0)
    model.save_pretrained(tmp_path / "saved", max_shard_size="100KB")
    standin.files = {each.name: each.read_bytes() for each in (tmp_path / "saved").iterdir()}
    standin.files["tokenizer.json"] = SMALL["tokenizer.json"]
    config, weights, _ = load(
        pull(standin, tmp_path).directory,
        device=torch.device("cpu"),
        number_format=NumberFormat(torch.float32),
    )
    expected = model.state_dict()
    for name, tensor in weights.by_name(config).items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("shard", ["../../refs/main", "/etc/passwd", "config.json", 5, None])
def test_an_index_that_leads_elsewhere(standin: StandIn, tmp_path: Path, shard: object) -> None:
    """It is refused before anything large is pulled; the error names the commit."""
    standin.files = sharded(SHARDS | {"a": shard})
    with pytest.raises(InvalidCheckpoint, match="is not the name of a shard") as caught:
        pull(standin, tmp_path)
    assert f"This is {REPO} at commit {standin.commit}" in caught.value.message
    assert standin.asked("store") == []


def test_a_shard_that_is_missing(standin: StandIn, tmp_path: Path) -> None:
    """It is named, before anything large is pulled."""
    del standin.files[SECOND]
    with pytest.raises(WeightsNotFound, match=f"has no {SECOND}"):
        pull(standin, tmp_path)
    assert standin.asked("store") == []


def test_one_file_comes_before_shards(standin: StandIn, tmp_path: Path) -> None:
    """Where a repository has both, as some do for a while, the whole file is pulled."""
    standin.files |= FILES_THERE
    found = pull(standin, tmp_path)
    assert {each.name for each in found.directory.iterdir()} == {*SMALL, "model.safetensors"}


def test_another_models_weights_are_not_pulled(standin: StandIn, tmp_path: Path) -> None:
    """Its configuration comes first, and refuses it."""
    source = source_of(standin, tmp_path)
    with pytest.raises(InvalidCheckpoint, match=f"model_type is absent.*{standin.commit}"):
        locate_checkpoint(REPO, "model", source, check=ModelConfig.from_directory)
    assert standin.asked("store") == []


def test_what_is_optional_comes_along(standin: StandIn, tmp_path: Path) -> None:
    """Where it is there; and where it is not, nobody misses it."""
    standin.files["generation_config.json"] = b"{}"
    found = pull(standin, tmp_path)
    assert (found.directory / "generation_config.json").read_bytes() == b"{}"
    assert "generation_config.json" not in all_files("model", DEMO_DIRECTORY / "model")


def test_no_loader_reads_what_is_not_pulled() -> None:
    """What a shard may lack is what both halves of the codec, and the language model, leave out."""
    raw = json.loads((DEMO_DIRECTORY / "model" / "config.json").read_text())
    config = ModelConfig.from_dict(raw)
    meta = torch.device("meta")
    read = parameters.Weights.empty(
        config, device=meta, number_format=NumberFormat(torch.float32)
    ).by_name(config)
    assert not any(name.startswith(UNREAD["model"]) for name in read)
    assert all(name.startswith(UNREAD["model"]) for name in parameters.NOT_NEEDED)
    raw = json.loads((DEMO_DIRECTORY / "codec" / "config.json").read_text())
    read = loader.tensor_shapes(CodecConfig.from_dict(raw))
    read |= encoder_loader.tensor_shapes(EncoderConfig.from_dict(raw))
    assert not any(name.startswith(UNREAD["codec"]) for name in read)
    for half in (loader.NOT_NEEDED_PREFIXES, encoder_loader.NOT_NEEDED_PREFIXES):
        assert set(UNREAD["codec"]) <= set(half)
