"""Our encoder against transformers' on random weights."""

import io
import wave
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from higgs_worker.codec.encoder import PIECE_FRAMES, CodecEncoder
from higgs_worker.codec.encoder_loader import load_encoder
from higgs_worker.codec.hubert import PIECE_FEATURES
from higgs_worker.voices.library import PRESETS, VoiceLibrary
from tests.oracles.codec import (
    REAL_RATIOS,
    CodecOracle,
    encode,
    features,
    latents,
    random_encoder,
    random_pcm,
    save,
)

SIZES = {
    "real ratios": {
        "ratios": REAL_RATIOS,
        "num_codebooks": 8,
        "codebook_size": 64,
        "semantic": {"num_hidden_layers": 2},
    },
    "half the hop": {
        "ratios": (5, 4, 8, 3),
        "num_codebooks": 3,
        "codebook_size": 50,
        "acoustic_width": 12,
        "semantic_width": 24,
        "semantic": {
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "conv_dim": [6, 8, 10, 8, 8, 8, 12],
            "conv_bias": True,
            "num_conv_pos_embeddings": 5,
            "num_conv_pos_embedding_groups": 3,
            "mask_time_prob": 0.05,
        },
        "kernel_size": 5,
        "unit_kernel_size": 5,
        "block_dilations": [1, 2, 3],
        "channel_ratios": [2, 1],
    },
    "semantic stride": {
        "ratios": (10, 16, 6),
        "downsample_factor": 640,
        "strides": [2, 1],
    },
}
LENGTHS = [24000, 24001, 23999, 960 * 7, 960 * 7 + 480, 7200, 600]
"""One second and its neighbours, whole and half frames, 0.3 s, 25 ms."""

Twins = tuple[CodecOracle, CodecEncoder]


@pytest.fixture(scope="module", params=SIZES)
def twins(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Twins:
    """The same random codec in transformers and, through a file, in ours."""
    oracle = random_encoder(5, **SIZES[request.param])
    directory: Path = save(oracle, tmp_path_factory.mktemp("codec"))
    encoder, _ = load_encoder(directory, torch.device("cpu"))
    return oracle, encoder


@pytest.mark.parametrize("num_samples", LENGTHS)
def test_codes_are_those_of_transformers(twins: Twins, num_samples: int) -> None:
    """Codes equal transformers', every one, whether or not the hop divides the length."""
    oracle, encoder = twins
    pcm = random_pcm(2, num_samples, seed=num_samples)
    codes = encoder(pcm)
    assert torch.equal(codes, encode(oracle, pcm))
    assert codes.dtype == torch.long
    frames = encoder.config.num_frames(num_samples)
    assert codes.shape == (2, encoder.config.codec.num_codebooks, frames)


def speech(name: str, num_samples: int) -> torch.Tensor:
    """Return the beginning of a built-in voice, [1, S]."""
    voice = VoiceLibrary(Path("no volume"), presets=PRESETS).get(name)
    with wave.open(io.BytesIO(voice.wav)) as file:
        samples = np.frombuffer(file.readframes(num_samples), dtype="<i2").astype(np.float32)
    assert len(samples) == num_samples
    return torch.from_numpy(samples / 32768)[None]


@pytest.mark.parametrize("num_samples", [960 * 60, 960 * 60 + 1, 960 * 59 + 480, 57_001])
@pytest.mark.parametrize("name", ["bram", "clara"])
def test_codes_of_speech_are_those_of_transformers(
    twins: Twins, name: str, num_samples: int
) -> None:
    """Speech, voiced and not, with its pauses, has transformers' codes at any length."""
    oracle, encoder = twins
    pcm = speech(name, num_samples)
    codes = encoder(pcm)
    assert torch.equal(codes, encode(oracle, pcm))
    assert codes.shape[-1] == encoder.config.num_frames(num_samples)
    assert codes[0, 0].unique().numel() > 5


@pytest.mark.parametrize("num_samples", LENGTHS)
def test_latents_are_those_of_transformers(twins: Twins, num_samples: int) -> None:
    """HuBERT's features and the latents equal transformers' within 1e-5."""
    oracle, encoder = twins
    pcm = random_pcm(2, num_samples, seed=num_samples)
    close = {"rtol": 0, "atol": 1e-5}
    torch.testing.assert_close(encoder.features(pcm), features(oracle, pcm), **close)
    torch.testing.assert_close(encoder.latents(pcm), latents(oracle, pcm), **close)


def are_decided(encoder: CodecEncoder, latents: torch.Tensor) -> torch.Tensor:
    """Return for each frame, [B, F], whether rounding cannot choose another code on any level."""
    decided = torch.ones(latents.shape[:2], dtype=torch.bool)
    for quantizer in encoder.quantizer.quantizers:
        distances = torch.cdist(quantizer.project_in(latents), quantizer.codebook.embed)
        nearest, second = distances.topk(2, largest=False).values.unbind(-1)
        decided &= second - nearest > 1e-5
        _, latents = quantizer(latents)
    return decided


def assert_is_the_whole(twins: Twins, pcm: torch.Tensor) -> None:
    """Compare with transformers, which computes no pieces: codes, and latents within 1e-5."""
    oracle, encoder = twins
    found, expected = encoder.latents(pcm), latents(oracle, pcm)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    decided = are_decided(encoder, expected)
    assert decided.float().mean() > 0.95
    same = (encoder(pcm) == encode(oracle, pcm)).all(1)
    assert same[decided].all()


def test_pieces_are_the_whole(twins: Twins) -> None:
    """Many pieces have the codes of the whole, every one that is no tie."""
    oracle, encoder = twins[0], deepcopy(twins[1])
    encoder.acoustic_encoder.piece_frames = 13
    encoder.semantic_model.feature_extractor.piece_features = 27
    sound = speech("bram", 960 * 56 + 333)
    assert_is_the_whole((oracle, encoder), torch.cat([random_pcm(1, sound.shape[1]), sound]))


@pytest.mark.slow
def test_a_long_recording_is_the_whole(twins: Twins) -> None:
    """So have the pieces that a worker computes, here three of each path."""
    encoder = twins[1]
    pcm = torch.cat([speech("clara", 24000 * 4), random_pcm(1, 24000 * 17 + 77)], dim=1)
    assert pcm.shape[-1] > 2 * PIECE_FRAMES * encoder.config.codec.hop_length
    assert encoder.config.hubert.num_features(pcm.shape[-1] * 2 // 3) > 2 * PIECE_FEATURES
    assert_is_the_whole(twins, pcm)


def test_the_margin_is_what_the_convolutions_see(twins: Twins) -> None:
    """A frame of PCM reaches as far as the margin says, and at most one frame less."""
    encoder = twins[1]
    hop, margin = encoder.config.codec.hop_length, encoder.acoustic_encoder.margin_frames
    middle = margin + 5
    pcm = torch.zeros(1, hop * 2 * middle)
    pcm[:, hop * middle : hop * (middle + 1)] = torch.nan
    reached = encoder.acoustic_encoder(pcm)[0].isnan().any(0).nonzero()
    furthest = max(middle - int(reached.min()), int(reached.max()) - middle)
    assert margin - 1 <= furthest <= margin


def test_codes_vary(twins: Twins) -> None:
    """The codecs compared here are not trivial: every codebook uses a third of its entries."""
    _, encoder = twins
    codes = encoder(random_pcm(4, 48000, seed=1))
    size = encoder.config.codec.codebook_size
    assert codes.min() >= 0
    assert codes.max() < size
    used = [codes[:, level].unique().numel() for level in range(codes.shape[1])]
    assert min(used) > size / 3


def test_both_paddings_are_tested(twins: Twins) -> None:
    """The lengths compared here need the acoustic path padded in one case, and not in another."""
    _, encoder = twins
    paddings = {encoder.config.num_padding_samples(num_samples) for num_samples in LENGTHS}
    assert paddings == {0, encoder.config.codec.hop_length // 2}


def test_row_alone_is_the_row_in_a_batch(twins: Twins) -> None:
    """Other rows of the batch do not change a row."""
    _, encoder = twins
    pcm = random_pcm(2, 12345)
    together = encoder(pcm)
    assert torch.equal(encoder(pcm[:1])[0], together[0])
    assert torch.equal(encoder(pcm[1:])[0], together[1])
    assert not torch.equal(together[0], together[1])


def test_silence_and_noise_beyond_the_scale(twins: Twins) -> None:
    """Digital silence and PCM far outside [-1, 1] encode as in transformers."""
    oracle, encoder = twins
    for pcm in (torch.zeros(1, 9600), 100 * random_pcm(1, 9600)):
        assert torch.equal(encoder(pcm), encode(oracle, pcm))


def test_too_short_is_refused(twins: Twins) -> None:
    """The shortest PCM that gives a frame is encoded, one sample less is a ValueError."""
    oracle, encoder = twins
    num_frames = encoder.config.num_frames
    shortest = next(count for count in range(1000) if num_frames(count) > 0)
    pcm = random_pcm(1, shortest)
    assert torch.equal(encoder(pcm), encode(oracle, pcm))
    assert encoder(pcm).shape[-1] == 1
    for num_samples in (shortest - 1, 0):
        with pytest.raises(ValueError, match=f"{num_samples} samples of PCM are too few"):
            encoder(pcm[:, :num_samples])
