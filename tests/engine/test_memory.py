"""Memory: what is counted is what is taken, and what does not fit is refused with numbers."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import pytest
import torch

from higgs_worker.engine.config import ModelConfig, Rope
from higgs_worker.engine.kv_cache import KVCache
from higgs_worker.engine.memory import (
    MAX_AUTO_SLOTS,
    MAX_PREFIX_BYTES,
    RESERVE_BYTES,
    free_memory,
    plan_memory,
    slot_bytes,
)
from higgs_worker.engine.runner import Runner
from higgs_worker.errors import InvalidSettings
from tests.engine.pairs import Pairs

GB = 10**9
PUBLISHED = ModelConfig(
    vocab_size=128256,
    width=3072,
    mlp_width=8192,
    num_layers=28,
    num_heads=24,
    num_kv_heads=8,
    head_dim=128,
    norm_eps=1e-5,
    rope=Rope(theta=500000.0, factor=32.0),
    num_codebooks=8,
    codebook_size=1026,
    stream_bos_id=1024,
    stream_eos_id=1025,
)
"""Sizes of bosonai/higgs-audio-v2-generation-3B-base."""


def tensors(owner: object) -> Iterator[torch.Tensor]:
    """Find the tensors that an object of ours holds."""
    if isinstance(owner, torch.Tensor):
        yield owner
    elif is_dataclass(owner):
        for field in fields(owner):
            yield from tensors(getattr(owner, field.name))
    elif isinstance(owner, Runner | KVCache):
        for name, value in vars(owner).items():
            if name != "model":
                yield from tensors(value)


def test_a_slot_takes_what_is_counted(pairs: Pairs) -> None:
    """The tensors that a runner allocates are those that the plan counts, within 3 %."""
    model = pairs(0, "wide", end=0.0).runner.model
    for num_slots, max_length in ((1, 4096), (8, 1024), (16, 4096)):
        runner = Runner(model, num_slots=num_slots, max_length=max_length)
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in tensors(runner)}
        taken = sum(storage.nbytes() for storage in storages.values())
        counted = num_slots * slot_bytes(model.config, torch.float32, max_length)
        assert counted <= taken <= 1.03 * counted


def test_the_published_model_in_numbers() -> None:
    """114,688 bytes of keys and values per position in bfloat16, 0.47 GB per slot of 4096."""
    per_position = slot_bytes(PUBLISHED, torch.bfloat16, 1)
    assert per_position == 114_688 + 8 * 8 + 8 * 2 * 4
    assert slot_bytes(PUBLISHED, torch.bfloat16, 4096) == 4096 * per_position
    assert slot_bytes(PUBLISHED, torch.float32, 1) == 2 * 114_688 + 128


def test_free_memory_is_filled_up_to_a_cap() -> None:
    """Without a number of slots: all that fit, the reserve and the prefixes aside; 64 at most."""
    budget = plan_memory(
        PUBLISHED, torch.bfloat16, free_bytes=16 * GB, max_slots=None, max_length=4096
    )
    assert 20 < budget.num_slots < MAX_AUTO_SLOTS
    taken = budget.num_slots * budget.slot_bytes + budget.prefix_cache_bytes + RESERVE_BYTES
    assert taken <= 16 * GB < taken + budget.slot_bytes
    assert budget.max_length == 4096
    budget = plan_memory(
        PUBLISHED, torch.bfloat16, free_bytes=130 * GB, max_slots=None, max_length=4096
    )
    assert budget.num_slots == MAX_AUTO_SLOTS
    assert budget.prefix_cache_bytes == MAX_PREFIX_BYTES


def test_what_was_asked_for_is_given() -> None:
    """An explicit number of slots is used as it is, above the cap too, up to the last that fits."""
    for max_slots in (1, 7, 200):
        budget = plan_memory(
            PUBLISHED, torch.bfloat16, free_bytes=130 * GB, max_slots=max_slots, max_length=4096
        )
        assert budget.num_slots == max_slots
    size = slot_bytes(PUBLISHED, torch.bfloat16, 4096)
    exact = RESERVE_BYTES + MAX_PREFIX_BYTES + 100 * size
    plan_memory(PUBLISHED, torch.bfloat16, free_bytes=exact, max_slots=100, max_length=4096)
    with pytest.raises(InvalidSettings):
        plan_memory(PUBLISHED, torch.bfloat16, free_bytes=exact - 1, max_slots=100, max_length=4096)


def test_what_does_not_fit_is_refused_with_numbers() -> None:
    """Too many slots: the error has what they need, what is free, and the settings to lower."""
    with pytest.raises(InvalidSettings) as caught:
        plan_memory(PUBLISHED, torch.bfloat16, free_bytes=16 * GB, max_slots=64, max_length=4096)
    message = caught.value.message
    for part in ("64 slots of 4096", "30.10 GB", "13.85 GB", "HIGGS_MAX_SLOTS", "HIGGS_MAX_LENGTH"):
        assert part in message, message


@pytest.mark.parametrize("free_bytes", [0, RESERVE_BYTES // 2, RESERVE_BYTES + 1000])
def test_a_full_device_is_refused(free_bytes: int) -> None:
    """When not even one slot fits, that is an error and no division of nothing."""
    with pytest.raises(InvalidSettings, match=r"1 slots of 4096 .* need 0\.47 GB and 0\.00 GB"):
        plan_memory(
            PUBLISHED, torch.bfloat16, free_bytes=free_bytes, max_slots=None, max_length=4096
        )


def test_a_cpu_gives_half_of_its_memory() -> None:
    """What is free on a CPU is a number of bytes that a worker can live in."""
    assert 0 < free_memory(torch.device("cpu")) < 1 << 46
