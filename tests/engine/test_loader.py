"""Loading: every tensor is checked, every fault named."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from higgs_worker.checkpoint.tensor_file import TensorPlace
from higgs_worker.engine import tensor_reader as reader
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.int8_matrix import Int8Matrix
from higgs_worker.engine.loader import load
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.errors import InvalidCheckpoint, WeightsNotFound
from tests.oracles.language_model import random_model, save

CPU = torch.device("cpu")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A checkpoint as transformers writes it, text head included."""
    save(random_model(0), tmp_path)
    edit(tmp_path, lambda tensors: tensors.update({"text_lm_head.weight": torch.zeros(96, 64)}))
    return tmp_path


def edit(directory: Path, change: object) -> None:
    """Change the tensors of a checkpoint."""
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def load_cpu(directory: Path) -> object:
    """Load on the CPU in float32."""
    return load(directory, device=CPU, number_format=NumberFormat(torch.float32))


def test_every_value_arrives(directory: Path) -> None:
    """Fused or not, each view holds what the file holds."""
    config, weights, _ = load_cpu(directory)
    places = weights.by_name(config)
    for name, value in load_file(directory / "model.safetensors").items():
        if name != "text_lm_head.weight":
            assert torch.equal(places[name], value), name


def test_8_bits_are_made_of_the_files_values(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row by row as from whole tensors, however many blocks they take; all else is bfloat16."""
    monkeypatch.setattr(reader, "BLOCK_BYTES", 1000)
    number_format = NumberFormat.named("int8", CPU)
    config, weights, report = load(directory, device=CPU, number_format=number_format)
    tensors = load_file(directory / "model.safetensors")
    num_in_8_bits = 0
    for name, place in weights.by_name(config).items():
        if isinstance(place, Int8Matrix):
            assert name.split(".")[-2].endswith("_proj")
            expected = Int8Matrix.empty(*tensors[name].shape, CPU)
            expected.copy_(tensors[name])
            assert torch.equal(place.values, expected.values), name
            assert torch.equal(place.scale, expected.scale), name
            num_in_8_bits += 1
        else:
            assert torch.equal(place, tensors[name].bfloat16()), name
    assert num_in_8_bits == config.num_layers * (4 + 2 * 3)
    assert report.num_bytes_read == load_cpu(directory)[2].num_bytes_read


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_tensors_of_many_blocks_arrive(
    directory: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values arrive, read directly or converted, by several threads."""
    monkeypatch.setattr(reader, "BLOCK_BYTES", 1000)
    config, weights, _ = load(
        directory, device=torch.device("cpu"), number_format=NumberFormat(dtype)
    )
    tensors = load_file(directory / "model.safetensors")
    assert any(tensor.nbytes > 3000 for tensor in tensors.values())
    for name, place in weights.by_name(config).items():
        assert torch.equal(place, tensors[name].to(dtype)), name


def test_a_file_that_shrinks_meanwhile_is_an_error(tmp_path: Path) -> None:
    """Missing bytes are an error, never zeros."""
    (tmp_path / "x").write_bytes(bytes(100))
    places = {"a": torch.zeros(40)}
    with pytest.raises(InvalidCheckpoint, match="ends early"):
        reader.fill({"a": TensorPlace(tmp_path / "x", 0, "F32")}, places)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_makes_the_same_8_bits(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that it quantises are those that a CPU does, but for a value between two steps."""
    monkeypatch.setattr(reader, "BLOCK_BYTES", 4096)
    number_format = NumberFormat.named("int8", CPU)
    config, own, _ = load(directory, device=torch.device("cuda"), number_format=number_format)
    places = own.by_name(config)
    for name, tensor in (
        load(directory, device=CPU, number_format=number_format)[1].by_name(config).items()
    ):
        if isinstance(tensor, Int8Matrix):
            assert torch.equal(places[name].scale.cpu(), tensor.scale), name
            steps = places[name].values.cpu().int() - tensor.values.int()
            assert steps.abs().max() <= 1, name
            assert steps.count_nonzero() < 0.001 * steps.numel(), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gets_every_value(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through pinned buffers that are used again and again."""
    monkeypatch.setattr(reader, "BLOCK_BYTES", 4096)
    config, weights, _ = load(
        directory, device=torch.device("cuda"), number_format=NumberFormat(torch.bfloat16)
    )
    tensors = load_file(directory / "model.safetensors")
    for name, place in weights.by_name(config).items():
        assert torch.equal(place.cpu(), tensors[name].bfloat16()), name


def test_only_what_is_used_is_read(directory: Path) -> None:
    """The bytes read are those of all tensors but the text head."""
    edit(directory, lambda t: t.update({"text_lm_head.weight": torch.zeros(1 << 20)}))
    sizes = {n: t.nbytes for n, t in load_file(directory / "model.safetensors").items()}
    before = num_bytes_read()
    _, _, report = load_cpu(directory)
    read = num_bytes_read() - before
    needed = sum(sizes.values()) - sizes["text_lm_head.weight"]
    assert report.num_bytes_read == needed
    assert needed <= read < needed + (1 << 16)  # config.json and the file's header


def num_bytes_read() -> int:
    """Return what this process has read so far, as the kernel counts it; mappings are not in it."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_half_precision_files_are_widened(directory: Path) -> None:
    """A file in bfloat16 loads into float32."""
    edit(directory, lambda t: t.update({n: v.bfloat16() for n, v in t.items()}))
    _, weights, _ = load_cpu(directory)
    assert weights.norm.dtype == torch.float32


@pytest.mark.parametrize(
    "name", ["model.norm.weight", "model.layers.1.audio_mlp.up_proj.weight", "audio_lm_head.weight"]
)
def test_a_missing_tensor_is_named(directory: Path, name: str) -> None:
    """Nothing is served with weights left as they were allocated."""
    edit(directory, lambda tensors: tensors.pop(name))
    with pytest.raises(InvalidCheckpoint, match=f"missing {name}"):
        load_cpu(directory)


def test_an_extra_tensor_is_named(directory: Path) -> None:
    """An unknown tensor means another model."""
    edit(directory, lambda t: t.update({"model.layers.0.adapter.weight": torch.zeros(1)}))
    with pytest.raises(InvalidCheckpoint, match=r"unknown model\.layers\.0\.adapter\.weight"):
        load_cpu(directory)


def test_a_misshapen_tensor_is_named(directory: Path) -> None:
    """The error has both shapes."""
    edit(directory, lambda tensors: tensors.update({"model.norm.weight": torch.zeros(63)}))
    with pytest.raises(InvalidCheckpoint, match=r"model\.norm\.weight is \[63\], not \[64\]"):
        load_cpu(directory)


def test_integers_are_not_weights(directory: Path) -> None:
    """Quantised files are refused rather than read as numbers."""
    edit(directory, lambda t: t.update({"model.norm.weight": torch.zeros(64, dtype=torch.int8)}))
    with pytest.raises(InvalidCheckpoint, match=r"model\.norm\.weight holds I8"):
        load_cpu(directory)


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_a_truncated_file_is_damaged(directory: Path, keep: int) -> None:
    """A download cut anywhere is told from a whole one."""
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InvalidCheckpoint, match=r"model\.safetensors is damaged .* again"):
        load_cpu(directory)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    """The error names what is missing."""
    (directory / name).unlink()
    with pytest.raises(WeightsNotFound, match=name):
        load_cpu(directory)


def test_a_directory_without_weights(tmp_path: Path) -> None:
    """An empty directory is not a checkpoint."""
    with pytest.raises(WeightsNotFound, match=r"config\.json"):
        load_cpu(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", "higgs_audio", "main revision"),
        ("hidden_size", None, "hidden_size is null"),
        ("num_hidden_layers", True, "num_hidden_layers is true"),
        ("hidden_act", "gelu", "hidden_act is 'gelu'"),
        ("attention_bias", True, "attention_bias"),
        ("codebook_size", 65, "too small for the stream ids"),
        ("num_key_value_heads", 3, "do not divide"),
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 1.0}, "rope_type is 'yarn'"),
        (
            "rope_parameters",
            {"rope_type": "llama3", "rope_theta": 1.0},
            "low_freq_factor is absent",
        ),
        ("rope_parameters", {}, "rope_theta is absent"),
    ],
)
def test_a_wrong_config_is_named(directory: Path, key: str, value: object, message: str) -> None:
    """The error names the wrong key."""
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(InvalidCheckpoint, match=message):
        load_cpu(directory)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_config_is_named(directory: Path, text: str) -> None:
    """A cut or foreign config.json is an error of its own."""
    (directory / "config.json").write_text(text)
    with pytest.raises(InvalidCheckpoint, match=r"config\.json is not"):
        load_cpu(directory)


def test_older_rope_names_are_understood(directory: Path) -> None:
    """`rope_scaling` with a separate `rope_theta` means the same."""
    path = directory / "config.json"
    raw = json.loads(path.read_text())
    rope = raw.pop("rope_parameters")
    older = raw | {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}
    assert ModelConfig.from_dict(older) == ModelConfig.from_directory(directory)
