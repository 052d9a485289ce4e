"""Loading the encoder: only its bytes are read, and a wrong file is named for what it is."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from higgs_worker.codec.encoder_config import EncoderConfig
from higgs_worker.codec.encoder_loader import (
    DIRECTION,
    LANDMARKS,
    MAGNITUDE,
    WEIGHT,
    load_encoder,
    tensor_shapes,
)
from higgs_worker.codec.loader import NOT_NEEDED_PREFIXES, load_decoder
from higgs_worker.errors import InvalidCheckpoint, WeightsNotFound
from tests.codec.test_config import PUBLISHED
from tests.oracles.codec import (
    REAL_RATIOS,
    CodecOracle,
    latents,
    random_encoder,
    random_pcm,
    save,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def oracle() -> CodecOracle:
    """A small random codec."""
    return random_encoder(3, ratios=REAL_RATIOS)


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
        load_encoder(directory, CPU)
    assert str(directory) in caught.value.message
    assert "the main revision of bosonai/higgs-audio-v2-tokenizer" in caught.value.message
    return caught.value.message


def test_only_the_encoder_is_read(checkpoint: Path) -> None:
    """The bytes read are exactly those of the encoder's tensors."""
    encoder, report = load_encoder(checkpoint, CPU)
    tensors = load_file(checkpoint / "model.safetensors")
    assert report.num_bytes_read == sum(tensors[n].nbytes for n in tensor_shapes(encoder.config))
    assert report.num_bytes_read < sum(tensor.nbytes for tensor in tensors.values())


def test_both_halves_come_from_one_file(checkpoint: Path) -> None:
    """Decoder and encoder load from the same directory and agree on its sizes."""
    encoder, _ = load_encoder(checkpoint, CPU)
    decoder, _ = load_decoder(checkpoint, CPU)
    assert encoder.config.codec == decoder.config
    pcm = random_pcm(1, 4800)
    assert decoder(encoder(pcm)).shape == pcm.shape


def test_published_encoder_is_650_megabytes() -> None:
    """Of the published 806 MB, the encoder's tensors are 163.6 million values."""
    shapes = tensor_shapes(EncoderConfig.from_dict(PUBLISHED))
    millions = {
        prefix: sum(torch.Size(s).numel() for n, s in shapes.items() if n.startswith(prefix)) / 1e6
        for prefix in ("acoustic_encoder.", "semantic_model.", "encoder_semantic.", "quantizer.")
    }
    assert millions == pytest.approx(
        {
            "acoustic_encoder.": 51.3,
            "semantic_model.": 94.4,
            "encoder_semantic.": 14.7,
            "quantizer.": 1.6,
        },
        abs=0.1,
    )


def test_ready_for_inference(checkpoint: Path) -> None:
    """All weights are float32, without gradients, and do not depend on the file any more."""
    encoder, _ = load_encoder(checkpoint, CPU)
    pcm = random_pcm(1, 4800)
    before = encoder.latents(pcm)
    (checkpoint / "model.safetensors").write_bytes(b"")
    assert torch.equal(encoder.latents(pcm), before)
    assert {tensor.dtype for tensor in encoder.state_dict().values()} == {torch.float32}
    assert not before.requires_grad
    assert not encoder.training


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype: torch.dtype, tmp_path: Path) -> None:
    """A file in half precision encodes as its values in float32 do."""
    oracle = random_encoder(3, ratios=REAL_RATIOS).to(dtype)
    encoder, report = load_encoder(save(oracle, tmp_path), CPU)
    pcm = random_pcm(2, 4800)
    torch.testing.assert_close(
        encoder.latents(pcm), latents(oracle.float(), pcm), rtol=0, atol=1e-5
    )
    num_values = sum(torch.Size(shape).numel() for shape in tensor_shapes(encoder.config).values())
    assert report.num_bytes_read == 2 * num_values


def test_a_decoder_alone_is_called_that(checkpoint: Path) -> None:
    """A file with nothing of an encoder is refused as one that holds only a decoder."""

    def keep_the_decoder(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            if name.startswith(NOT_NEEDED_PREFIXES):
                del tensors[name]

    change(checkpoint, keep_the_decoder)
    message = refusal(checkpoint)
    assert "holds only the decoder of a codec" in message
    assert f"missing {', '.join(LANDMARKS)}, ...;" in message


def test_missing_tensors_are_named(checkpoint: Path) -> None:
    """Tensors that are not in the file are named, the first three and a count."""
    names = ["fc.bias", "quantizer.quantizers.2.project_in.weight", MAGNITUDE, LANDMARKS[0]]
    change(checkpoint, lambda tensors: [tensors.pop(name) for name in names])
    message = refusal(checkpoint)
    assert sum(f"missing {name}" in message for name in names) == 3
    assert "; and 1 more;" in message


@pytest.mark.parametrize(
    "name",
    [
        WEIGHT,
        "acoustic_encoder.block.0.conv1.parametrizations.weight.original0",
        "semantic_model.encoder.layers.1.layer_norm.weight",
        "encoder_semantic.conv.bias",
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
    change(checkpoint, lambda tensors: tensors.update({DIRECTION: torch.zeros(16, 4, 4)}))
    assert f"{DIRECTION} is [16, 4, 4], not [16, 8, 4];" in refusal(checkpoint)


def test_training_leftovers_are_ignored(checkpoint: Path) -> None:
    """HuBERT's mask embedding may be in the file or not."""
    change(
        checkpoint,
        lambda tensors: tensors.update({"semantic_model.masked_spec_embed": torch.zeros(16)}),
    )
    load_encoder(checkpoint, CPU)


def test_damaged_or_absent_file(checkpoint: Path) -> None:
    """A download that broke off is called damaged, an absent file WeightsNotFound."""
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:10000])
    assert f"{path} is damaged" in refusal(checkpoint)
    path.unlink()
    with pytest.raises(WeightsNotFound, match=r"model\.safetensors cannot be read"):
        load_encoder(checkpoint, CPU)
