"""Loading: only the decoder's bytes are read, and a wrong file is named for what it is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from higgs_worker.codec.config import CodecConfig
from higgs_worker.codec.loader import load_decoder, tensor_shapes
from higgs_worker.errors import InvalidCheckpoint, WeightsNotFound
from tests.oracles.codec import (
    CodecOracle,
    decode,
    random_codec,
    random_codes,
    save,
)

CPU = torch.device("cpu")
PROJECT_OUT = "quantizer.quantizers.1.project_out.weight"
CONV = "acoustic_decoder.block.1.res_unit2.conv1.weight"


@pytest.fixture(scope="module")
def oracle() -> CodecOracle:
    """A small random codec."""
    return random_codec(3)


@pytest.fixture
def checkpoint(oracle: CodecOracle, tmp_path: Path) -> Path:
    """Its directory, as transformers writes it; each test may damage its own."""
    return save(oracle, tmp_path)


def change(directory: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    """Write the file again with other tensors."""
    path = directory / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    edit(tensors)
    save_file(tensors, path)


def refusal(directory: Path) -> str:
    """Return the message of the InvalidCheckpoint that loading must raise."""
    with pytest.raises(InvalidCheckpoint) as caught:
        load_decoder(directory, CPU)
    assert str(directory) in caught.value.message
    assert "the main revision of bosonai/higgs-audio-v2-tokenizer" in caught.value.message
    return caught.value.message


def test_only_the_decoder_is_read(checkpoint: Path) -> None:
    """The bytes read are exactly those of the decoder's tensors, a fraction of the file."""
    decoder, report = load_decoder(checkpoint, CPU)
    tensors = load_file(checkpoint / "model.safetensors")
    assert report.num_bytes_read == sum(tensors[n].nbytes for n in tensor_shapes(decoder.config))
    assert report.num_bytes_read < 0.4 * (checkpoint / "model.safetensors").stat().st_size


def test_published_decoder_is_90_megabytes() -> None:
    """Of the published 806 MB, the decoder's tensors are 22.6 million values."""
    config = CodecConfig(
        sample_rate=24000,
        num_codebooks=8,
        codebook_size=1024,
        codebook_dim=64,
        hidden_size=1024,
        acoustic_hidden_size=256,
        decoder_hidden_size=1024,
        upsampling_ratios=(8, 5, 4, 2, 3),
    )
    num_values = sum(torch.Size(shape).numel() for shape in tensor_shapes(config).values())
    assert num_values == pytest.approx(22.6e6, rel=0.05)


def test_ready_for_inference(checkpoint: Path) -> None:
    """All weights are float32, without gradients, and do not depend on the file any more."""
    decoder, _ = load_decoder(checkpoint, CPU)
    codes = torch.ones(1, decoder.config.num_codebooks, 3, dtype=torch.long)
    before = decoder(codes)
    (checkpoint / "model.safetensors").write_bytes(b"")
    assert torch.equal(decoder(codes), before)
    assert {tensor.dtype for tensor in decoder.state_dict().values()} == {torch.float32}
    assert not before.requires_grad
    assert not decoder.training


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype: torch.dtype, tmp_path: Path) -> None:
    """A file in half precision decodes as its values in float32 do."""
    oracle = random_codec(3).to(dtype)
    decoder, report = load_decoder(save(oracle, tmp_path), CPU)
    codes = random_codes(oracle, 2, 5)
    torch.testing.assert_close(decoder(codes), decode(oracle.float(), codes), rtol=0, atol=1e-5)
    assert report.num_bytes_read == 2 * sum(
        torch.Size(shape).numel() for shape in tensor_shapes(decoder.config).values()
    )


def test_missing_tensors_are_named(checkpoint: Path) -> None:
    """Tensors that are not in the file are named, the first three and a count."""
    change(checkpoint, lambda tensors: tensors.pop(PROJECT_OUT))
    assert f"missing {PROJECT_OUT};" in refusal(checkpoint)
    change(checkpoint, lambda tensors: [tensors.pop(n) for n in list(tensors) if "block.0" in n])
    assert "missing acoustic_decoder.block.0.snake1.alpha" in refusal(checkpoint)
    assert "more" in refusal(checkpoint)


@pytest.mark.parametrize(
    "name",
    [
        "acoustic_decoder.block.0.conv_t1.parametrizations.weight.original0",
        "decoder_2.conv.weight",
        "fc3.weight",
        "quantizer.quantizers.0.codebook.usage",
        "quantizer.quantizers.4.project_in.weight",
    ],
)
def test_unknown_tensor_is_named(checkpoint: Path, name: str) -> None:
    """A tensor that is neither used nor known to be not needed is named."""
    change(checkpoint, lambda tensors: tensors.update({name: torch.zeros(1)}))
    assert f"unknown {name};" in refusal(checkpoint)


def test_misshapen_tensor_is_named(checkpoint: Path) -> None:
    """A tensor of another shape is named with both shapes."""
    change(checkpoint, lambda tensors: tensors.update({CONV: torch.zeros(8, 8, 5)}))
    assert f"{CONV} is [8, 8, 5], not [8, 8, 7];" in refusal(checkpoint)


def test_integer_tensor_is_named(checkpoint: Path) -> None:
    """A quantised tensor is refused, not read as if its integers were the weights."""
    change(checkpoint, lambda tensors: tensors.update({CONV: tensors[CONV].to(torch.int8)}))
    assert f"{CONV} holds I8, not F32, F16 or BF16;" in refusal(checkpoint)


@pytest.mark.parametrize("kept", [0.0, 0.00002, 0.01, 0.5, 0.999])
def test_truncated_file_is_damaged(checkpoint: Path, kept: float) -> None:
    """A download that broke off anywhere is called damaged, to be fetched again."""
    path = checkpoint / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    message = refusal(checkpoint)
    assert f"{path} is damaged" in message
    assert "fetch" in message
    assert "again" in message


def test_other_file_is_damaged(checkpoint: Path) -> None:
    """A file of another kind (a pointer, an error page) is called damaged too."""
    path = checkpoint / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\nsize 806000000\n")
    assert f"{path} is damaged" in refusal(checkpoint)


def test_no_weights(checkpoint: Path) -> None:
    """A directory without the weights, or no directory at all, is WeightsNotFound."""
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(WeightsNotFound, match=r"model\.safetensors cannot be read"):
        load_decoder(checkpoint, CPU)
    with pytest.raises(WeightsNotFound, match=r"absent/config\.json cannot be read"):
        load_decoder(checkpoint / "absent", CPU)


def test_other_model_type(checkpoint: Path) -> None:
    """A checkpoint of another model is refused by its configuration, before its weights."""
    path = checkpoint / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "xcodec"}))
    assert "model_type is 'xcodec'" in refusal(checkpoint)
