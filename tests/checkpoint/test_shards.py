"""Checkpoints in several files: read as one file is, and no further than the index is true."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from higgs_worker.checkpoint.shard_index import INDEX
from higgs_worker.codec.encoder_loader import codec_id, load_encoder
from higgs_worker.codec.loader import load_decoder
from higgs_worker.engine.loader import load
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.errors import InvalidCheckpoint, WeightsNotFound
from higgs_worker.weights.locate import DEMO_DIRECTORY
from tests.fakes.odd_files import ODD_FILES, in_time, put
from tests.fakes.shards import WEIGHTS, shard, write_index
from tests.oracles.codec import REAL_RATIOS, random_encoder
from tests.oracles.codec import save as save_codec
from tests.oracles.language_model import random_model, save

CPU = torch.device("cpu")
HALVES = {"acoustic_decoder.": 1, "quantizer.": 2, "fc2.": 2, "decoder_semantic.": 4, "fc1.": 4}
"""The decoder's shard, what both halves share, and what nothing reads; the encoder is shard 3."""


def half(name: str) -> int:
    """Return the shard of one of the codec's tensors."""
    return next((shard for start, shard in HALVES.items() if name.startswith(start)), 3)


@pytest.fixture
def demo(tmp_path: Path) -> dict[str, str]:
    """Divide the demo's codec among two shards in `tmp_path`; gives the file of each tensor."""
    shutil.copytree(DEMO_DIRECTORY / "codec", tmp_path, dirs_exist_ok=True)
    return shard(tmp_path, lambda name: 1 + name.startswith("acoustic_decoder.block."))


def test_what_transformers_writes_in_shards(tmp_path: Path) -> None:
    """The language model is equal, tensor by tensor, however many files it came in."""
    model = random_model(0)
    model.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 5
    config, whole, report = load(
        save(model, tmp_path / "one"), device=CPU, number_format=NumberFormat(torch.float32)
    )
    found_config, found, found_report = load(
        tmp_path / "shards", device=CPU, number_format=NumberFormat(torch.float32)
    )
    assert found_config == config
    assert found_report.num_bytes_read == report.num_bytes_read
    places = found.by_name(config)
    for name, tensor in whole.by_name(config).items():
        assert torch.equal(places[name], tensor), name


def test_each_half_of_the_codec_opens_its_own_shards(tmp_path: Path) -> None:
    """Both halves are equal to those of one file, and neither needs the other's shards."""
    save_codec(random_encoder(3, ratios=REAL_RATIOS), tmp_path)
    decoder, encoder = load_decoder(tmp_path, CPU)[0], load_encoder(tmp_path, CPU)[0]
    shard(tmp_path, half)
    (tmp_path / "model-00004-of-00004.safetensors").unlink()
    others = tmp_path / "model-00003-of-00004.safetensors"
    others.rename(tmp_path / "aside")
    assert equal(load_decoder(tmp_path, CPU)[0], decoder)
    (tmp_path / "aside").rename(others)
    (tmp_path / "model-00001-of-00004.safetensors").unlink()
    assert equal(load_encoder(tmp_path, CPU)[0], encoder)
    assert len(codec_id(tmp_path)) == 16


def equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Return whether two networks have the same weights."""
    theirs = other.state_dict()
    return all(torch.equal(each, theirs[name]) for name, each in one.state_dict().items())


def test_one_file_comes_before_an_index(demo: dict[str, str], tmp_path: Path) -> None:
    """As for transformers, an index beside the whole file says nothing."""
    assert demo
    shutil.copy(DEMO_DIRECTORY / "codec" / WEIGHTS, tmp_path)
    (tmp_path / INDEX).write_text("nonsense")
    load_decoder(tmp_path, CPU)


FIRST, SECOND = (f"model-0000{each}-of-00002.safetensors" for each in (1, 2))
BIAS = "fc2.bias"

WRONG: dict[str, tuple[Callable[[dict[str, str]], object], str]] = {
    "elsewhere": (lambda files: files | {BIAS: "../" + FIRST}, "not the name of a shard"),
    "absolute": (lambda files: files | {BIAS: "/etc/passwd"}, "not the name of a shard"),
    "hidden": (lambda files: files | {BIAS: ".safetensors"}, "not the name of a shard"),
    "no weights": (lambda files: files | {BIAS: "config.json"}, "not the name of a shard"),
    "a list": (lambda files: files | {BIAS: [FIRST]}, "not the name of a shard"),
    "long": (lambda files: files | {BIAS: "x" * 300 + ".safetensors"}, "not the name of a shard"),
    "nothing": (lambda files: {}, "has no weight_map"),
    "no object": (lambda files: [FIRST], "has no weight_map"),
    "other shard": (lambda files: files | {BIAS: SECOND}, f"{BIAS} is "),
    "not listed": (
        lambda files: {name: file for name, file in files.items() if name != BIAS},
        f"{BIAS} is there, and nowhere by the index",
    ),
    "not there": (lambda files: files | {"fc9.bias": FIRST}, "fc9.bias is not there"),
    "unknown": (lambda files: files | {"fc9.bias": "x.safetensors"}, "unknown fc9.bias"),
}
"""By what is wrong: the index made of a right one, and what the error says."""


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_index_is_refused(demo: dict[str, str], tmp_path: Path, kind: str) -> None:
    """Names lead nowhere else, and every shard that is opened holds what the index says."""
    change, said = WRONG[kind]
    write_index(tmp_path, change(demo))
    with pytest.raises(InvalidCheckpoint, match=said) as caught:
        load_decoder(tmp_path, CPU)
    assert str(tmp_path) in caught.value.message
    assert len(caught.value.message) < 1000


def test_a_tensor_in_two_shards_is_refused(demo: dict[str, str], tmp_path: Path) -> None:
    """Which of two is meant, nobody can say: neither in the shards nor in the index."""
    tensors = load_file(tmp_path / SECOND)
    save_file(tensors | {BIAS: load_file(tmp_path / FIRST)[BIAS]}, tmp_path / SECOND)
    with pytest.raises(InvalidCheckpoint, match=f"{BIAS} is there, and {FIRST} by the index"):
        load_decoder(tmp_path, CPU)
    text = json.dumps({"weight_map": demo})
    (tmp_path / INDEX).write_text(text.replace("}}", f', "{BIAS}": "{SECOND}"}}}}'))
    with pytest.raises(InvalidCheckpoint, match=f"'{BIAS}' is there twice"):
        load_decoder(tmp_path, CPU)


@pytest.mark.parametrize("name", [INDEX, SECOND])
@pytest.mark.parametrize("kind", ODD_FILES)
def test_odd_files_among_shards(demo: dict[str, str], tmp_path: Path, name: str, kind: str) -> None:
    """Whatever lies there, the error names the file, at once."""
    assert demo
    put(kind, tmp_path / name)
    with pytest.raises(WeightsNotFound if kind == "absent" else InvalidCheckpoint) as caught:
        in_time(lambda: load_decoder(tmp_path, CPU))
    assert str(tmp_path / (WEIGHTS if (name, kind) == (INDEX, "absent") else name)) in (
        caught.value.message
    )
