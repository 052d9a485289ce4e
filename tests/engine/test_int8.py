"""A model in 8 bits through prefill, steps and engine: near to float32, never silently wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.gpu.reference import own_logits
from higgs_worker.engine.engine import Engine
from higgs_worker.engine.loader import load
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import Sampling, Submission
from higgs_worker.errors import EngineFailed
from tests.engine.pairs import Pairs, converted
from tests.oracles.language_model import random_model, random_prompt, save

CPU = torch.device("cpu")
INT8 = NumberFormat.named("int8", CPU)
NUM_FRAMES, MAX_LENGTH = 16, 320


@pytest.mark.parametrize(
    ("name", "device", "dtype", "has_int8_layers"),
    [
        ("auto", "cpu", torch.float32, False),
        ("auto", "cuda:1", torch.bfloat16, False),
        ("bfloat16", "cpu", torch.bfloat16, False),
        ("float32", "cuda", torch.float32, False),
        ("int8", "cpu", torch.bfloat16, True),
        ("int8", "cuda", torch.bfloat16, True),
    ],
)
def test_one_word_names_a_format(
    name: str, device: str, dtype: torch.dtype, has_int8_layers: bool
) -> None:
    """`auto` is what suits the device, and each format says which it is."""
    number_format = NumberFormat.named(name, torch.device(device))
    assert number_format == NumberFormat(dtype, has_int8_layers)
    assert name in ("auto", str(number_format))
    assert NumberFormat.named(str(number_format), torch.device(device)) == number_format


def test_logits_are_near_those_of_float32(pairs: Pairs) -> None:
    """After a prompt with a reference and after columns, teacher-forced."""
    pair = pairs(4, "wide", end=0.0)
    config = pair.runner.model.config
    rng = np.random.default_rng(0)
    prompt = random_prompt(rng, 20, 15)
    columns = rng.integers(0, config.stream_bos_id, (12, config.num_codebooks))
    columns[0] = config.stream_bos_id
    exact = own_logits(pair.runner.model, prompt, columns)
    in_8_bits = LanguageModel(config, converted(pair.weights, config, INT8), MAX_LENGTH)
    error = own_logits(in_8_bits, prompt, columns) - exact
    assert 0 < error.square().mean().sqrt() < 0.03 * exact.std()


def test_sequences_share_a_batch(tmp_path: Path) -> None:
    """Loaded from a file; each is spoken to its end, and alone as beside others at first.

    Not to the last column: in bfloat16 sums round differently in other company.
    """
    save(random_model(5, "narrow"), tmp_path)
    config, weights, _ = load(tmp_path, device=CPU, number_format=INT8)
    model = LanguageModel(config, weights, MAX_LENGTH)
    rng = np.random.default_rng(1)
    asked = [
        Submission(random_prompt(rng, size, 5), Sampling(seed=size), NUM_FRAMES)
        for size in (12, 40, 25)
    ]
    with Engine(Runner(model, num_slots=3, max_length=MAX_LENGTH)) as engine:
        together = engine.generate(asked)
        again = engine.generate(asked)
        alone = [engine.generate([each])[0] for each in asked]
    for first, second, single in zip(together, again, alone, strict=True):
        assert len(first.columns) == NUM_FRAMES + config.num_codebooks
        assert np.array_equal(first.columns, second.columns)
        assert np.array_equal(first.columns[:2], single.columns[:2])


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["self_attn.v_proj", "audio_mlp.up_proj"])
def test_a_weight_that_is_not_finite_is_told(tmp_path: Path, name: str, wrong: float) -> None:
    """It makes no sound: the sequence fails, and the sentence says where to look."""
    save(random_model(6, "narrow"), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors[f"model.layers.0.{name}.weight"][3, 5] = wrong
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config, weights, _ = load(tmp_path, device=CPU, number_format=INT8)
    runner = Runner(LanguageModel(config, weights, MAX_LENGTH), num_slots=1, max_length=MAX_LENGTH)
    prompt = random_prompt(np.random.default_rng(2), 12, 5)
    with Engine(runner) as engine:
        handle = engine.submit(Submission(prompt, Sampling(seed=0), NUM_FRAMES))
        with pytest.raises(EngineFailed, match=r"not a number.*HIGGS_DTYPE"):
            handle.result(timeout_s=30)
