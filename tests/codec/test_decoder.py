"""Our decoder against transformers' on random weights."""

from pathlib import Path

import pytest
import torch

from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.loader import load_decoder
from tests.oracles.codec import (
    REAL_RATIOS,
    CodecOracle,
    decode,
    random_codec,
    random_codes,
    save,
)

SIZES = {
    "narrow": {},
    "odd": {
        "ratios": (3, 5, 2),
        "num_codebooks": 3,
        "codebook_size": 50,
        "decoder_width": 44,
        "acoustic_width": 12,
        "semantic_width": 20,
    },
    "real ratios": {"ratios": REAL_RATIOS, "num_codebooks": 8, "decoder_width": 64},
}

Twins = tuple[CodecOracle, CodecDecoder]


@pytest.fixture(scope="module", params=SIZES)
def twins(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Twins:
    """The same random codec in transformers and, through a file, in ours."""
    oracle = random_codec(7, **SIZES[request.param])
    directory: Path = save(oracle, tmp_path_factory.mktemp("codec"))
    decoder, _ = load_decoder(directory, torch.device("cpu"))
    return oracle, decoder


@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (1, 2), (3, 1), (2, 9), (1, 24)])
def test_decode_is_that_of_transformers(twins: Twins, batch: int, frames: int) -> None:
    """PCM equals transformers' within 1e-5, whatever the widths, ratios, length and batch."""
    oracle, decoder = twins
    codes = random_codes(oracle, batch, frames, seed=frames)
    wanted = decode(oracle, codes)
    pcm = decoder(codes)
    assert 0.03 < wanted.square().mean().sqrt() < 1
    assert pcm.shape == (batch, frames * decoder.config.hop_length)
    assert pcm.dtype == torch.float32
    torch.testing.assert_close(pcm, wanted, rtol=0, atol=1e-5)


def test_table_is_the_quantizer(twins: Twins) -> None:
    """The folded table gives the latents of quantizer and fc2 to float32's rounding."""
    oracle, decoder = twins
    codes = random_codes(oracle, 2, 16)
    with torch.inference_mode():
        quantised = oracle.quantizer.double().decode(codes.transpose(0, 1)).transpose(1, 2)
        wanted = oracle.fc2.double()(quantised).transpose(1, 2)
        oracle.float()
    torch.testing.assert_close(decoder.code_table(codes).double(), wanted, rtol=0, atol=2e-6)


def test_no_frames_no_samples(twins: Twins) -> None:
    """Zero frames give zero samples for every row, and zero rows give zero rows."""
    _, decoder = twins
    num_codebooks, hop = decoder.config.num_codebooks, decoder.config.hop_length
    empty = decoder(torch.zeros(2, num_codebooks, 0, dtype=torch.long))
    assert (empty.shape, empty.dtype) == ((2, 0), torch.float32)
    assert decoder(torch.zeros(0, num_codebooks, 3, dtype=torch.long)).shape == (0, 3 * hop)


def test_row_alone_is_the_row_in_a_batch(twins: Twins) -> None:
    """Other rows of the batch do not change a row."""
    oracle, decoder = twins
    codes = random_codes(oracle, 3, 6)
    together = decoder(codes)
    for row in range(3):
        torch.testing.assert_close(
            decoder(codes[row : row + 1])[0], together[row], rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("num_codebooks", [1, 2, 9])
def test_other_number_of_codebooks_is_refused(twins: Twins, num_codebooks: int) -> None:
    """Codes of another number of codebooks are refused; a single one does not broadcast."""
    _, decoder = twins
    with pytest.raises(ValueError, match=f"codes of {num_codebooks} codebooks, not"):
        decoder(torch.zeros(1, num_codebooks, 4, dtype=torch.long))
