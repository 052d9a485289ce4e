"""The codec's sizes: files that transformers writes are read, others are refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from higgs_worker.codec.config import CodecConfig
from higgs_worker.errors import InvalidCheckpoint, WeightsNotFound
from higgs_worker.messages import quote

PUBLISHED = {
    "model_type": "higgs_audio_v2_tokenizer",
    "target_bandwidths": [0.5, 1, 1.5, 2],
    "acoustic_model_config": {
        "model_type": "dac",
        "downsampling_ratios": [8, 5, 4, 2, 3],
        "upsampling_ratios": [8, 5, 4, 2, 3],
    },
}
"""The published sizes, with every key left out whose default is right."""

OTHER = {
    "model_type": "higgs_audio_v2_tokenizer",
    "target_bandwidths": [3],
    "sample_rate": 16001,
    "codebook_size": 100,
    "codebook_dim": 6,
    "acoustic_model_config": {
        "model_type": "dac",
        "hidden_size": 24,
        "decoder_hidden_size": 48,
        "downsampling_ratios": [10, 16],
        "upsampling_ratios": [16, 10],
    },
    "semantic_model_config": {"model_type": "hubert", "hidden_size": 40},
}


def test_published_sizes() -> None:
    """The published codec has 8 codebooks at 25 frames of 960 samples per second."""
    config = CodecConfig.from_dict(PUBLISHED)
    assert config == CodecConfig(
        sample_rate=24000,
        num_codebooks=8,
        codebook_size=1024,
        codebook_dim=64,
        hidden_size=1024,
        acoustic_hidden_size=256,
        decoder_hidden_size=1024,
        upsampling_ratios=(8, 5, 4, 2, 3),
    )
    assert (config.hop_length, config.frame_rate) == (960, 25)


@pytest.mark.parametrize("written", [True, False], ids=["as saved", "defaults left out"])
@pytest.mark.parametrize(
    "raw",
    [PUBLISHED, OTHER, {"model_type": PUBLISHED["model_type"]}],
    ids=["published", "other", "all defaults"],
)
def test_sizes_are_those_of_transformers(raw: dict, written: bool, tmp_path: Path) -> None:
    """Every size equals what transformers makes of the same file, defaults included."""
    from transformers import HiggsAudioV2TokenizerConfig

    theirs = HiggsAudioV2TokenizerConfig.from_dict(raw)
    if written:
        theirs.save_pretrained(tmp_path)
    else:
        (tmp_path / "config.json").write_text(json.dumps(raw))
    ours = CodecConfig.from_directory(tmp_path)
    acoustic = theirs.acoustic_model_config
    assert ours.sample_rate == theirs.sample_rate
    assert ours.num_codebooks == theirs.num_quantizers
    assert ours.codebook_size == theirs.codebook_size
    assert ours.codebook_dim == theirs.codebook_dim
    assert ours.hidden_size == theirs.hidden_size
    assert ours.acoustic_hidden_size == acoustic.hidden_size
    assert ours.decoder_hidden_size == acoustic.decoder_hidden_size
    assert ours.upsampling_ratios == tuple(acoustic.upsampling_ratios)
    assert ours.hop_length == theirs.hop_length
    assert ours.frame_rate == theirs.frame_rate


@pytest.mark.parametrize("model_type", ["xcodec", "higgs_audio_v2", None])
def test_other_model_is_refused(model_type: str | None) -> None:
    """Another model type, or the original format without one, says which revision to use."""
    raw = {**PUBLISHED, "model_type": model_type}
    with pytest.raises(InvalidCheckpoint) as caught:
        CodecConfig.from_dict(raw, "somewhere/config.json")
    message = caught.value.message
    assert "somewhere/config.json" in message
    assert f"model_type is {quote(model_type)}" in message
    assert "the main revision of bosonai/higgs-audio-v2-tokenizer" in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sample_rate", "24000"),
        ("sample_rate", True),
        ("codebook_size", 1),
        ("codebook_size", 1024.0),
        ("codebook_dim", 0),
        ("codebook_dim", None),
        ("target_bandwidths", []),
        ("target_bandwidths", ["2"]),
        ("target_bandwidths", [float("inf")]),
        ("target_bandwidths", [0.1]),
        ("acoustic_model_config", "dac"),
        ("acoustic_model_config.model_type", "encodec"),
        ("acoustic_model_config.hidden_size", None),
        ("acoustic_model_config.decoder_hidden_size", 31),
        ("acoustic_model_config.upsampling_ratios", [960, 1]),
        ("acoustic_model_config.upsampling_ratios", 960),
        ("acoustic_model_config.downsampling_ratios", [8, 5, 4, 2]),
        ("semantic_model_config.hidden_size", -768),
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
        CodecConfig.from_dict(raw, "somewhere/config.json")
    assert f"somewhere/config.json: {key} is " in caught.value.message
    assert "of the main revision of" in caught.value.message


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff"], ids=["empty", "cut", "list", "bytes"])
def test_damaged_file_is_refused(text: str, tmp_path: Path) -> None:
    """A file that is not a JSON object is named, to be fetched again."""
    path = tmp_path / "config.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InvalidCheckpoint, match=r"config\.json is not .* again"):
        CodecConfig.from_directory(path.parent)


def test_absent_file_is_not_found(tmp_path: Path) -> None:
    """An absent file is WeightsNotFound and says what the directory must hold."""
    with pytest.raises(WeightsNotFound, match=r"config\.json cannot be read .*model\.safetensors"):
        CodecConfig.from_directory(tmp_path)


def test_no_torch() -> None:
    """The configuration can be read without importing torch."""
    code = "import sys, higgs_worker.codec.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
