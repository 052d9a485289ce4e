"""The encoder's sizes: files that transformers writes are read, unusable ones are refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from higgs_worker.codec.encoder_config import EncoderConfig, HubertConfig
from higgs_worker.errors import InvalidCheckpoint
from tests.codec.test_config import PUBLISHED

OTHER = {
    "model_type": "higgs_audio_v2_tokenizer",
    "target_bandwidths": [3],
    "sample_rate": 48000,
    "semantic_sample_rate": 8000,
    "downsample_factor": 80,
    "kernel_size": 5,
    "unit_kernel_size": 7,
    "block_dilations": [1, 3, 9],
    "strides": [2, 1, 2],
    "channel_ratios": [3, 2, 1],
    "acoustic_model_config": {
        "model_type": "dac",
        "hidden_size": 24,
        "encoder_hidden_size": 20,
        "downsampling_ratios": [10, 16, 12],
        "upsampling_ratios": [16, 10, 12],
    },
    "semantic_model_config": {
        "model_type": "hubert",
        "hidden_size": 40,
        "intermediate_size": 50,
        "num_hidden_layers": 3,
        "num_attention_heads": 5,
        "conv_dim": [7, 8, 9],
        "conv_kernel": [6, 5, 4],
        "conv_stride": [5, 2, 2],
        "conv_bias": True,
        "num_conv_pos_embeddings": 9,
        "num_conv_pos_embedding_groups": 4,
        "layer_norm_eps": 1e-6,
    },
}


def test_published_sizes() -> None:
    """The published encoder is HuBERT base and five downsamplings from 64 channels."""
    config = EncoderConfig.from_dict(PUBLISHED)
    assert config.hubert == HubertConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_layers=12,
        num_heads=12,
        layer_norm_eps=1e-5,
        conv_channels=(512,) * 7,
        conv_kernels=(10, 3, 3, 3, 3, 2, 2),
        conv_strides=(5, 2, 2, 2, 2, 2, 2),
        conv_bias=False,
        position_kernel=128,
        position_groups=16,
    )
    assert (config.acoustic_width, config.downsampling_ratios) == (64, (8, 5, 4, 2, 3))
    assert (config.semantic_sample_rate, config.feature_stride) == (16000, 2)
    assert (config.semantic_channels, config.semantic_strides) == ((768, 768), (1, 1))
    assert (config.semantic_kernel, config.unit_kernel, config.unit_dilations) == (3, 3, (1, 1))


@pytest.mark.parametrize("written", [True, False], ids=["as saved", "defaults left out"])
@pytest.mark.parametrize("raw", [PUBLISHED, OTHER], ids=["published", "other"])
def test_sizes_are_those_of_transformers(raw: dict, written: bool, tmp_path: Path) -> None:
    """Every size equals what transformers makes of the same file, defaults included."""
    from transformers import HiggsAudioV2TokenizerConfig

    theirs = HiggsAudioV2TokenizerConfig.from_dict(raw)
    if written:
        theirs.save_pretrained(tmp_path)
    else:
        (tmp_path / "config.json").write_text(json.dumps(raw))
    ours = EncoderConfig.from_directory(tmp_path)
    acoustic, semantic = theirs.acoustic_model_config, theirs.semantic_model_config
    assert ours.acoustic_width == acoustic.encoder_hidden_size
    assert ours.downsampling_ratios == tuple(acoustic.downsampling_ratios)
    assert ours.semantic_sample_rate == theirs.semantic_sample_rate
    assert ours.feature_stride == theirs.semantic_downsample_factor
    assert ours.semantic_kernel == theirs.kernel_size
    assert ours.semantic_channels == tuple(
        int(theirs.semantic_hidden_size * ratio) for ratio in theirs.channel_ratios
    )
    assert ours.semantic_strides == tuple(theirs.strides)
    assert ours.unit_kernel == theirs.unit_kernel_size
    assert ours.unit_dilations == tuple(theirs.block_dilations)
    assert ours.hubert == HubertConfig(
        hidden_size=semantic.hidden_size,
        intermediate_size=semantic.intermediate_size,
        num_layers=semantic.num_hidden_layers,
        num_heads=semantic.num_attention_heads,
        layer_norm_eps=semantic.layer_norm_eps,
        conv_channels=tuple(semantic.conv_dim),
        conv_kernels=tuple(semantic.conv_kernel),
        conv_strides=tuple(semantic.conv_stride),
        conv_bias=semantic.conv_bias,
        position_kernel=semantic.num_conv_pos_embeddings,
        position_groups=semantic.num_conv_pos_embedding_groups,
    )


def test_every_length_has_a_padding() -> None:
    """From 119 samples on, every length gives a frame per 960 samples, padded or not."""
    config = EncoderConfig.from_dict(PUBLISHED)
    for num_samples in range(119, 20000):
        assert config.num_padding_samples(num_samples) in (0, 480)
        assert abs(config.num_frames(num_samples) - num_samples / 960) < 1
    for num_samples in range(119):
        assert config.num_frames(num_samples) == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kernel_size", 4),
        ("unit_kernel_size", 0),
        ("unit_kernel_size", 2),
        ("block_dilations", []),
        ("strides", [1, 0]),
        ("channel_ratios", [1]),
        ("channel_ratios", [1, 2]),
        ("channel_ratios", [0, 1]),
        ("channel_ratios", [1.5, 1]),
        ("channel_ratios", "11"),
        ("semantic_sample_rate", None),
        ("downsample_factor", 0),
        ("acoustic_model_config.encoder_hidden_size", -64),
        ("acoustic_model_config.downsampling_ratios", [8, 5, 4, 2, 3, 1]),
        ("semantic_model_config.model_type", "wavlm"),
        ("semantic_model_config.hidden_act", "relu"),
        ("semantic_model_config.feat_extract_activation", "gelu_new"),
        ("semantic_model_config.feat_extract_norm", "layer"),
        ("semantic_model_config.feat_proj_layer_norm", False),
        ("semantic_model_config.do_stable_layer_norm", True),
        ("semantic_model_config.conv_pos_batch_norm", True),
        ("semantic_model_config.conv_bias", 1),
        ("semantic_model_config.conv_kernel", [10, 3]),
        ("semantic_model_config.conv_stride", [5, 2, 2, 2, 2, 2, 2, 2]),
        ("semantic_model_config.num_attention_heads", 7),
        ("semantic_model_config.num_conv_pos_embedding_groups", 5),
        ("semantic_model_config.layer_norm_eps", 0),
    ],
)
def test_wrong_value_is_refused(key: str, value: object) -> None:
    """An impossible value is refused with the file, the key and a remedy."""
    raw = json.loads(json.dumps(PUBLISHED))
    *sections, last = key.split(".")
    target = raw
    for section in sections:
        target = target.setdefault(section, {})
    target[last] = value
    with pytest.raises(InvalidCheckpoint) as caught:
        EncoderConfig.from_dict(raw, "somewhere/config.json")
    assert f"somewhere/config.json: {key} is " in caught.value.message
    assert "of the main revision of" in caught.value.message


@pytest.mark.parametrize(
    "change", [{"semantic_sample_rate": 20000}, {"strides": [2, 1]}, {"downsample_factor": 640}]
)
def test_paths_of_different_rates_are_refused(change: dict) -> None:
    """A semantic path with other frames than the acoustic one is refused at load."""
    with pytest.raises(InvalidCheckpoint, match=r"downsampling_ratios is .* per frame, as the"):
        EncoderConfig.from_dict({**PUBLISHED, **change})


def test_no_torch() -> None:
    """The configuration can be read without importing torch."""
    code = "import sys, higgs_worker.codec.encoder_config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
