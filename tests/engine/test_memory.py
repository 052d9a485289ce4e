"""Memory: the plan counts what is allocated, and refuses with numbers what does not fit."""

import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.roofline import PUBLISHED
from higgs_worker.engine.columns import Columns
from higgs_worker.engine.kv_cache import KVCache
from higgs_worker.engine.memory import (
    LIBRARY_BYTES,
    MAX_AUTO_SLOTS,
    MAX_CPU_SLOTS,
    MAX_PREFIX_BYTES,
    container_free_memory,
    free_memory,
    plan_memory,
    slot_bytes,
    weight_bytes,
    working_bytes,
)
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import PrefillChunk, Sampling, Submission
from higgs_worker.errors import InvalidSettings
from tests.engine.pairs import Pairs
from tests.fakes.live_bytes import LiveBytes
from tests.oracles.language_model import random_prompt

GB, MIB = 10**9, 1 << 20
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
BF16, FLOAT32 = NumberFormat(torch.bfloat16), NumberFormat(torch.float32)
RESERVED = LIBRARY_BYTES + working_bytes(PUBLISHED, BF16, CUDA, 4096)
"""What a plan without a codec leaves free."""


def tensors(owner: object) -> Iterator[torch.Tensor]:
    """Find the tensors that an object of ours holds."""
    if isinstance(owner, torch.Tensor):
        yield owner
    elif is_dataclass(owner):
        for field in fields(owner):
            yield from tensors(getattr(owner, field.name))
    elif isinstance(owner, Runner | KVCache | Columns):
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
    """Without a number of slots: all that fit, beside what is reserved; 64 at most."""
    plan = plan_memory(PUBLISHED, BF16, CUDA, free_bytes=16 * GB, max_slots=None, max_length=4096)
    assert 20 < plan.num_slots < MAX_AUTO_SLOTS
    taken = plan.num_slots * plan.slot_bytes + plan.prefix_cache_bytes + plan.reserved_bytes
    assert taken <= 16 * GB < taken + plan.slot_bytes
    assert plan.max_length == 4096
    plan = plan_memory(PUBLISHED, BF16, CUDA, free_bytes=130 * GB, max_slots=None, max_length=4096)
    assert plan.num_slots == MAX_AUTO_SLOTS
    assert plan.prefix_cache_bytes == MAX_PREFIX_BYTES


def test_what_was_asked_for_is_given() -> None:
    """An explicit number of slots is used as it is, above the cap too, up to the last that fits."""
    for max_slots in (1, 7, 200):
        plan = plan_memory(
            PUBLISHED, BF16, CUDA, free_bytes=130 * GB, max_slots=max_slots, max_length=4096
        )
        assert plan.num_slots == max_slots
    size = slot_bytes(PUBLISHED, torch.bfloat16, 4096)
    exact = RESERVED + MAX_PREFIX_BYTES + 100 * size
    plan_memory(PUBLISHED, BF16, CUDA, free_bytes=exact, max_slots=100, max_length=4096)
    with pytest.raises(InvalidSettings):
        plan_memory(PUBLISHED, BF16, CUDA, free_bytes=exact - 1, max_slots=100, max_length=4096)


def test_the_encoder_is_counted() -> None:
    """It is loaded later, and what it will take is left to it."""
    size = slot_bytes(PUBLISHED, torch.bfloat16, 4096)
    exact = RESERVED + 3 * GB + MAX_PREFIX_BYTES + 40 * size
    for free_bytes, num_slots in ((exact, 40), (exact - 1, 39)):
        plan = plan_memory(
            PUBLISHED,
            BF16,
            CUDA,
            free_bytes=free_bytes,
            max_slots=None,
            max_length=4096,
            encoder_bytes=3 * GB,
        )
        assert plan.num_slots == num_slots
        assert plan.reserved_bytes == RESERVED + 3 * GB


def test_a_prefill_takes_what_is_counted(pairs: Pairs) -> None:
    """The most memory that a prefill behind others holds at once, within a third of the plan."""
    pair = pairs(0, "wide", end=0.0)
    config, max_length = pair.runner.model.config, 2048
    runner = Runner(
        LanguageModel(config, pair.weights, max_length), num_slots=1, max_length=max_length
    )
    prompt = random_prompt(np.random.default_rng(0), 2000)
    left = runner.begin(0, Submission(prompt, Sampling(seed=0), 10))
    runner.prefill([PrefillChunk(0, 24)])
    with LiveBytes() as live, torch.inference_mode():
        runner.prefill([PrefillChunk(0, left - 24)])
    counted = working_bytes(config, FLOAT32, CPU, max_length)
    assert 0.66 < live.peak / counted < 1.33


def test_what_does_not_fit_is_refused_with_numbers() -> None:
    """Too many slots: the error has what they need, what is free, and the settings to lower."""
    with pytest.raises(InvalidSettings) as caught:
        plan_memory(PUBLISHED, BF16, CUDA, free_bytes=16 * GB, max_slots=64, max_length=4096)
    message = caught.value.message
    for part in (
        "32.30 GB more with 64 slots of 4096",
        "16.00 GB",
        "HIGGS_MAX_SLOTS",
        "HIGGS_MAX_LENGTH",
        "larger GPU",
    ):
        assert part in message, message


@pytest.mark.parametrize("free_bytes", [0, RESERVED // 2, RESERVED + 1000])
def test_a_full_device_is_refused(free_bytes: int) -> None:
    """When not even one slot fits, that is an error and no division of nothing."""
    with pytest.raises(
        InvalidSettings, match=r"1\.60 GB more with one slot .* lower HIGGS_MAX_LENGTH"
    ):
        plan_memory(PUBLISHED, BF16, CUDA, free_bytes=free_bytes, max_slots=None, max_length=4096)


def test_what_is_free_on_a_cpu() -> None:
    """A number of bytes that a worker can live in."""
    assert 0 < free_memory(CPU) < 1 << 46


def test_a_cpu_takes_few_slots() -> None:
    """However much is free, unless the operator asks for more; libraries get little."""
    for max_slots, num_slots in ((None, MAX_CPU_SLOTS), (64, 64)):
        plan = plan_memory(
            PUBLISHED,
            FLOAT32,
            CPU,
            free_bytes=200 * GB,
            max_slots=max_slots,
            max_length=4096,
        )
        assert plan.num_slots == num_slots
        assert plan.reserved_bytes < 1 * GB


def test_what_is_loaded_later_must_fit_too() -> None:
    """Before the weights are there, the plan counts them; the advice is for a CPU."""
    weights = weight_bytes(PUBLISHED, FLOAT32, CPU)
    assert weights == pytest.approx(21.6e9, rel=0.02)
    with pytest.raises(InvalidSettings) as caught:
        plan_memory(
            PUBLISHED,
            FLOAT32,
            CPU,
            free_bytes=20 * GB,
            max_slots=None,
            max_length=4096,
            loading_bytes=weights,
        )
    assert "20.00 GB of memory are free" in caught.value.message
    assert "give the worker more memory" in caught.value.message
    assert "GPU" not in caught.value.message


def test_8_bits_in_numbers() -> None:
    """5.8 GB instead of 10.8, the same slots; on a GPU a matrix is converted, twice 100 MB."""
    in_8_bits = NumberFormat.named("int8", CUDA)
    assert weight_bytes(PUBLISHED, BF16, CUDA) == pytest.approx(10.75e9, rel=0.001)
    assert weight_bytes(PUBLISHED, in_8_bits, CUDA) == pytest.approx(5.825e9, rel=0.001)
    assert weight_bytes(PUBLISHED, in_8_bits, CPU) == weight_bytes(PUBLISHED, in_8_bits, CUDA)
    for device, more in ((CPU, 0), (CUDA, 2 * 100_663_296)):
        working = [working_bytes(PUBLISHED, each, device, 4096) for each in (in_8_bits, BF16)]
        assert working[0] - working[1] == more
    plans = [
        plan_memory(PUBLISHED, each, CUDA, free_bytes=9 * GB, max_slots=None, max_length=4096)
        for each in (in_8_bits, BF16)
    ]
    assert plans[0].slot_bytes == plans[1].slot_bytes
    assert plans[1].reserved_bytes - plans[0].reserved_bytes == -2 * 100_663_296


def test_a_slot_takes_memory_as_it_is_used() -> None:
    """On a CPU: nothing for what no sequence has reached, and it reads as zeros."""

    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident_bytes()
    cache = KVCache(PUBLISHED, 4, 1024, device=CPU, dtype=torch.bfloat16)
    assert 4 * slot_bytes(PUBLISHED, torch.bfloat16, 1024) > 400 * MIB
    assert resident_bytes() - before < 20 * MIB
    cache.clear(1)
    assert 100 * MIB < resident_bytes() - before < 150 * MIB
    assert not any(cache.save(slot, 8).any() for slot in range(4))


def lay_out(group: Path, limit: str, usage: int, unused: int, version: int) -> None:
    """Write one group's files."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    group.mkdir(parents=True, exist_ok=True)
    (group / names[0]).write_text(f"{limit}\n")
    (group / names[1]).write_text(f"{usage}\n")
    (group / "memory.stat").write_text(f"anon {usage - unused}\n{names[2]} {unused}\n")


def free(root: Path, *lines: str) -> int | None:
    """Ask as a process of the groups that the lines name."""
    (root / "own").write_text("".join(f"{line}\n" for line in lines))
    return container_free_memory(root / "groups", root / "own")


def test_the_limit_of_version_2(tmp_path: Path) -> None:
    """Limit less usage; what only caches files counts as free."""
    lay_out(tmp_path / "groups", str(100 * MIB), 70 * MIB, 20 * MIB, 2)
    assert free(tmp_path, "0::/") == 50 * MIB


def test_the_nearest_limit_counts(tmp_path: Path) -> None:
    """A group above may leave less than the own one; one without a limit is no bound."""
    lay_out(tmp_path / "groups/pod/box", str(100 * MIB), 10 * MIB, 0, 2)
    lay_out(tmp_path / "groups/pod", str(200 * MIB), 170 * MIB, 0, 2)
    lay_out(tmp_path / "groups", "max", 900 * MIB, 0, 2)
    assert free(tmp_path, "0::/pod/box") == 30 * MIB


@pytest.mark.parametrize("path", ["/", "/docker/4f2c", "/../4f2c"])
def test_the_limit_of_version_1(path: str, tmp_path: Path) -> None:
    """The memory controller's group, mounted at the root even where the path is the host's."""
    lay_out(tmp_path / "groups/memory", str(64 * MIB), 4 * MIB, 1 * MIB, 1)
    assert free(tmp_path, "5:cpu,cpuacct:/x", f"3:memory:{path}", "0::/") == 61 * MIB


def test_more_in_use_than_the_limit_is_none_left(tmp_path: Path) -> None:
    """A limit that was lowered below the usage leaves nothing, and not less."""
    lay_out(tmp_path / "groups", str(10 * MIB), 30 * MIB, 0, 2)
    assert free(tmp_path, "0::/") == 0


def test_without_a_limit_there_is_none(tmp_path: Path) -> None:
    """No groups, no memory controller, or no limit: the machine's memory alone counts."""
    assert container_free_memory(tmp_path, tmp_path / "missing") is None
    assert free(tmp_path, "0::/") is None
    lay_out(tmp_path / "groups", "max", 30 * MIB, 0, 2)
    assert free(tmp_path, "0::/", "5:cpu:/") is None
