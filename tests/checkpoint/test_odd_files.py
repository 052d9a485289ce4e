"""Checkpoints whose files are not what they should be: refused, in bounded time and memory."""

import json
import math
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.checkpoint.config_file import read_config
from higgs_worker.checkpoint.tensor_file import MAX_HEADER_BYTES, open_tensors
from higgs_worker.codec.config import CodecConfig
from higgs_worker.codec.encoder_config import EncoderConfig
from higgs_worker.engine.config import ModelConfig
from higgs_worker.errors import InvalidCheckpoint, WeightsNotFound
from higgs_worker.speech.prompt import PromptBuilder
from higgs_worker.weights.locate import DEMO_DIRECTORY
from tests.fakes.odd_files import ODD_FILES, in_time, put

MAX_MEMORY_BYTES = 50_000_000


def read_tensors(directory: Path) -> list[str]:
    """Return the names of a file's tensors."""
    with open_tensors(directory, "it", wanted={}, is_not_needed=lambda _: True) as file:
        return list(file.not_needed)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "model config": ("config.json", ModelConfig.from_directory),
    "codec config": ("config.json", CodecConfig.from_directory),
    "encoder config": ("config.json", EncoderConfig.from_directory),
    "tensors": ("model.safetensors", read_tensors),
    "tokenizer": ("tokenizer.json", PromptBuilder.from_directory),
}
"""By name: the file that it reads, and the reader of a directory."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a checkpoint that every reader takes."""
    for path in (DEMO_DIRECTORY / "model").iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ODD_FILES)
def test_odd_files_are_refused(directory: Path, reader: str, kind: str) -> None:
    """Whatever lies there, the error names the file and what to do, at once."""
    name, read = READERS[reader]
    put(kind, directory / name)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsNotFound if kind == "absent" else InvalidCheckpoint) as caught:
            in_time(lambda: read(directory))
        assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY_BYTES
    finally:
        tracemalloc.stop()
    assert str(directory / name) in caught.value.message
    assert len(caught.value.message) < 1000


def test_links_may_lead_anywhere(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An operator's directory of links is a checkpoint, as a cache's is."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for path in list(directory.iterdir()):
        path.rename(elsewhere / path.name)
        path.symlink_to(elsewhere / path.name)
    for name in ("model config", "tokenizer"):
        READERS[name][1](directory)


def test_a_header_without_end_is_refused(directory: Path) -> None:
    """Its size is checked before it is read."""
    path = directory / "model.safetensors"
    size = MAX_HEADER_BYTES + 1
    path.write_bytes(size.to_bytes(8, "little") + b"{}" + b" " * size)
    with pytest.raises(InvalidCheckpoint, match=f"header of {size} bytes"):
        read_tensors(directory)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400", "1" * 5000])
def test_numbers_that_are_none(tmp_path: Path, text: str) -> None:
    """Python's parser takes most of them."""
    (tmp_path / "config.json").write_text(f'{{"unknown": [{text}]}}')
    with pytest.raises(InvalidCheckpoint, match=r"config\.json is not JSON"):
        read_config(tmp_path, "it")


def places(raw: dict[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Return the way to each value of an object, nested ones included."""
    for key, value in raw.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from places(value, (*prefix, key))


ODD_VALUES = (
    *(None, True, False, "", "5", "x" * 10_000, [], [[]], {}, {"a": 1}, [True], ["5"], [5, None]),
    *(-1, 0, 1.5, 10**30, 10**400, -(10**30), 1e300, math.nan, math.inf, [10**30], [2] * 10_000),
    [math.nan],
)
CONFIGS: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "model": ("model", ModelConfig.from_dict),
    "codec": ("codec", CodecConfig.from_dict),
    "encoder": ("codec", EncoderConfig.from_dict),
}


@pytest.mark.parametrize("config", CONFIGS)
def test_odd_values_are_refused(config: str) -> None:
    """A value that is of no use is named; none makes the worker loop, allocate or fail."""
    kind, read = CONFIGS[config]
    text = (DEMO_DIRECTORY / kind / "config.json").read_text()
    lengths = []
    for *sections, last in places(json.loads(text)):
        for value in ODD_VALUES:
            raw = target = json.loads(text)
            for section in sections:
                target = target[section]
            target[last] = value
            try:
                read(raw)
            except InvalidCheckpoint as error:
                lengths.append(len(error.message))
    assert len(lengths) > 200
    assert max(lengths) < 1000


@pytest.mark.parametrize(
    "key",
    [
        *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("num_key_value_heads", "head_dim", "vocab_size", "num_codebooks", "codebook_size"),
        *("audio_stream_bos_id", "audio_stream_eos_id", "rms_norm_eps", "rope_parameters"),
    ],
)
@pytest.mark.parametrize("value", [True, "5", -1, 10**9, 10**400, math.nan, math.inf], ids=str)
def test_every_size_is_bounded(key: str, value: object) -> None:
    """A number of the language model is a number, of a size that a worker can hold."""
    raw = json.loads((DEMO_DIRECTORY / "model" / "config.json").read_text())
    with pytest.raises(InvalidCheckpoint, match=f"{key} is "):
        ModelConfig.from_dict(raw | {key: value})
