"""Our HuBERT against transformers' on random weights."""

from typing import TYPE_CHECKING

import pytest
import torch

from higgs_worker.codec.encoder_config import EncoderConfig
from higgs_worker.codec.encoder_loader import fold_weight_norm
from higgs_worker.codec.hubert import Hubert

if TYPE_CHECKING:
    from transformers import HubertModel

TINY = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
SIZES = {
    "tiny": TINY,
    "deep": {**TINY, "num_hidden_layers": 12, "num_conv_pos_embeddings": 128},
    "odd": {
        **TINY,
        "hidden_size": 24,
        "num_attention_heads": 3,
        "conv_dim": [6, 10, 12],
        "conv_kernel": [10, 4, 3],
        "conv_stride": [5, 8, 8],
        "conv_bias": True,
        "num_conv_pos_embeddings": 5,
        "num_conv_pos_embedding_groups": 3,
        "layer_norm_eps": 1e-2,
    },
}
POSITION_CONV = "encoder.pos_conv_embed.conv."

Twins = tuple["HubertModel", Hubert, EncoderConfig]


@pytest.fixture(scope="module", params=SIZES)
def twins(request: pytest.FixtureRequest) -> Twins:
    """The same random model in transformers and in ours."""
    from transformers import HubertConfig as TheirConfig
    from transformers import HubertModel

    raw = {
        "model_type": "higgs_audio_v2_tokenizer",
        "acoustic_model_config": {
            "downsampling_ratios": [8, 5, 4, 2, 3],
            "upsampling_ratios": [8, 5, 4, 2, 3],
        },
        "semantic_model_config": {"model_type": "hubert", **SIZES[request.param]},
    }
    torch.manual_seed(11)
    theirs = HubertModel(TheirConfig(mask_time_prob=0.0, **SIZES[request.param])).eval()
    state = theirs.state_dict()
    for tensor in state.values():
        if tensor.dim() == 1:  # norms and biases, away from the ones and zeros they start with
            tensor.add_(0.1 * torch.randn_like(tensor))
    original = POSITION_CONV + "parametrizations.weight.original"
    weight = fold_weight_norm(state.pop(original + "0"), state.pop(original + "1"))
    torch.testing.assert_close(
        weight, theirs.encoder.pos_conv_embed.conv.weight.detach(), rtol=1e-6, atol=1e-7
    )
    config = EncoderConfig.from_dict(raw)
    ours = Hubert(config.hubert)
    ours.load_state_dict({**state, POSITION_CONV + "weight": weight})
    return theirs, ours.requires_grad_(False).eval(), config


def noise(batch: int, num_samples: int) -> torch.Tensor:
    """Return a waveform [B, S]."""
    generator = torch.Generator().manual_seed(num_samples)
    return 0.1 * torch.randn(batch, num_samples, generator=generator)


@torch.inference_mode()
def mean_of_hidden_states(model: "HubertModel", pcm: torch.Tensor) -> torch.Tensor:
    """Return the mean of transformers' hidden states: [B, S] -> [B, features, D]."""
    states = model(pcm, output_hidden_states=True).hidden_states
    assert len(states) == model.config.num_hidden_layers + 1
    return torch.stack(states).mean(0)


@pytest.mark.parametrize(("batch", "num_samples"), [(1, 16000), (2, 4321), (3, 720), (1, 400)])
def test_features_are_those_of_transformers(twins: Twins, batch: int, num_samples: int) -> None:
    """Features equal the mean of transformers' hidden states within 1e-5, down to one feature."""
    theirs, ours, _ = twins
    pcm = noise(batch, num_samples)
    wanted = mean_of_hidden_states(theirs, pcm)
    assert wanted.abs().mean() > 0.1
    torch.testing.assert_close(ours(pcm), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("num_samples", [400, 719, 720, 721, 1039, 1040, 5000])
def test_number_of_features(twins: Twins, num_samples: int) -> None:
    """The number of features is known without running anything."""
    _, ours, config = twins
    features = ours(noise(1, num_samples)).shape[1]
    assert features == config.hubert.num_features(num_samples) > 0


def test_too_few_samples_give_no_feature(twins: Twins) -> None:
    """Too few samples for one feature give 0, never a negative number."""
    _, _, config = twins
    counts = [config.hubert.num_features(num_samples) for num_samples in range(401)]
    assert min(counts) == counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-1] >= 1


def test_fold_is_torchs_weight_norm() -> None:
    """The folded weight is what torch's own weight norm over the last dimension gives."""
    conv = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv1d(6, 4, 5), dim=2)
    weights = conv.parametrizations.weight
    with torch.no_grad():
        weights.original0.copy_(torch.linspace(-1, 2, 5))
        folded = fold_weight_norm(weights.original0, weights.original1)
        torch.testing.assert_close(folded, conv.weight, rtol=1e-6, atol=1e-7)
