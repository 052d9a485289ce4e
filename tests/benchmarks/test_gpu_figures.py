"""The GPU benchmark's figures: what is derived from a measurement, against cases worked by hand."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.gpu.devices import data_sheet_bandwidth
from benchmarks.gpu.parts.kernels import KernelCall, bytes_of, named, short_name, table
from benchmarks.gpu.parts.steps import step_bytes
from benchmarks.gpu.playback import Playback
from benchmarks.gpu.report import markdown
from benchmarks.gpu.scale import REAL, TINY

NAMES = {
    "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float>("
    "int, float)": "vectorized_layer_norm_kernel",
    "void at::native::elementwise_kernel<128, 4, at::native::gpu_kernel_impl_nocast<at::native::"
    "BinaryFunctor<float, float, float, at::native::binary_internal::MulFunctor<float> > >(at::"
    "TensorIteratorBase&)::{lambda(int)#1}>(int)": "elementwise_kernel BinaryFunctor MulFunctor",
    "fmha_cutlassF_bf16_aligned_64x128_rf_sm80(PyTorchMemEffAttention::AttentionKernel<cutlass>)":
        "fmha_cutlassF_bf16_aligned_64x128_rf_sm80",
    "void at::native::vectorized_elementwise_kernel<8, at::native::(anonymous namespace)::"
    "silu_kernel(at::TensorIteratorBase&)::{lambda()#1}::operator()() const::"
    "{lambda(c10::BFloat16)#1}, std::array<char*, 2ul> >(int)":
        "vectorized_elementwise_kernel silu_kernel",
    "nvjet_sm90_tst_128x8_64x12_2x1_v_bz_TNT": "nvjet_sm90_tst_128x8_64x12_2x1_v_bz_TNT",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [
        ("NVIDIA H100 80GB HBM3", 3350),
        ("NVIDIA H100 PCIe", 2000),
        ("NVIDIA H100 NVL", 3900),
        ("NVIDIA H200", 4800),
        ("NVIDIA A100-SXM4-80GB", 2039),
        ("NVIDIA A100 80GB PCIe", 1935),
        ("NVIDIA A100-PCIE-40GB", 1555),
        ("NVIDIA GeForce RTX 4090", 1008),
        ("NVIDIA RTX 6000 Ada Generation", 960),
        ("NVIDIA L40S", 864),
        ("NVIDIA A40", 696),
        ("NVIDIA L4", 300),
        ("NVIDIA T4", None),
    ],
)
def test_a_card_is_known_by_its_name(name: str, gigabytes: float | None) -> None:
    """Names as CUDA gives them; a card that is not in the table has no share, not a wrong one."""
    assert data_sheet_bandwidth(name) == (gigabytes and gigabytes * 1e9)


def test_a_step_reads_what_the_facts_say() -> None:
    """5.69 GB of weights in bf16 and 114,688 bytes per position, at the published sizes."""
    assert step_bytes(REAL, 1, 0) == pytest.approx(5.69e9, rel=0.002)
    assert step_bytes(REAL, 3, 500) - step_bytes(REAL, 0, 0) == 3 * 500 * 114_688
    # All but the head, which stays in bf16, is halved.
    int8 = step_bytes(REAL, 1, 0, has_int8_layers=True)
    assert int8 == pytest.approx((5.69e9 + 50e6) / 2, rel=0.002)


@pytest.mark.parametrize("name", NAMES)
def test_kernels_have_short_names(name: str) -> None:
    """Without C++'s templates, but with what an elementwise kernel computes."""
    assert short_name(name) == NAMES[name]


def step_of(num_layers: int, start: float) -> list[KernelCall]:
    """Return the kernels of a step of some layers."""
    names = [
        *("nvjet_a", "fmha_cutlassF_x", "nvjet_a", "nvjet_b", "silu_kernel", "nvjet_splitK")
        * num_layers,
        "nvjet_head",
        "splitKreduce_kernel",
    ]
    return [KernelCall(name, start + at, 10.0) for at, name in enumerate(names)]


def test_products_read_the_weights_in_the_order_of_a_step() -> None:
    """One kernel may serve several matrices; one product too many, and nothing is claimed."""
    scale = replace(REAL, model=replace(REAL.model, num_layers=2))
    calls = [call for step in range(5) for call in step_of(2, 100.0 * step)]
    rows = {row["kernel"]: row for row in table(calls, bytes_of(calls, scale, 3, 500), 5)}
    qkv, out, gate_up, down = 5120 * 3072, 3072 * 3072, 2 * 8192 * 3072, 8192 * 3072
    assert rows["nvjet_a"]["GB_per_s"] == pytest.approx(2 * (qkv + out) / 20e-6 / 1e9)
    assert rows["nvjet_b"]["GB_per_s"] == pytest.approx(2 * gate_up / 10e-6 / 1e9)
    assert rows["nvjet_splitK"]["GB_per_s"] == pytest.approx(2 * down / 10e-6 / 1e9)
    assert rows["nvjet_head"]["GB_per_s"] == pytest.approx(2 * 8208 * 3072 / 10e-6 / 1e9)
    assert rows["fmha_cutlassF_x"]["GB_per_s"] == pytest.approx(3 * 500 * 4096 / 10e-6 / 1e9)
    assert rows["splitKreduce_kernel"]["GB_per_s"] is None
    assert (rows["nvjet_a"]["calls"], rows["nvjet_a"]["us"]) == (4, 40)
    assert rows["all 7 kernels"]["us"] == 140
    assert sum(row.get("percent", 0) for row in rows.values()) == pytest.approx(100)
    extra = [*calls, KernelCall("nvjet_more", 999, 10.0)]
    assert not any("nvjet" in call.name for call in bytes_of(extra, scale, 3, 500))


def test_fused_kernels_are_told_apart_by_their_place() -> None:
    """All products are one kernel by name; one call too many, and nothing is claimed."""
    scale = replace(REAL, model=replace(REAL.model, num_layers=1))
    names = ["embed", "qkv", "attend", "out", "gate_up", "down", "head", "choose", "settle"]
    calls = [KernelCall("any", float(at), 10.0) for at in range(5 * len(names))]
    own = named(calls, names)
    rows = {row["kernel"]: row for row in table(own, bytes_of(own, scale, 3, 500), 5)}
    assert {*names, "all 9 kernels"} == set(rows)
    assert rows["down"]["GB_per_s"] == pytest.approx(2 * 8192 * 3072 / 10e-6 / 1e9)
    assert rows["attend"]["GB_per_s"] == pytest.approx(3 * 500 * 4096 / 10e-6 / 1e9)
    assert rows["choose"]["GB_per_s"] is None
    assert named([*calls, calls[0]], names) == [*calls, calls[0]]


def test_a_listener_that_runs_dry_is_counted() -> None:
    """From the first sound on; what came early is played first."""
    times = iter((100.0, 100.3, 100.35, 100.6, 100.9, 101.5))
    playback = Playback(1000, clock=lambda: next(times))
    for num_samples in (100, 100, 400, 100, 10):
        playback.on_pcm(np.zeros(num_samples, dtype=np.float32))
    playback.on_end(None)
    assert playback.wait().first_audio_s == pytest.approx(0.3)
    # Dry at 100.5 and at 101.1.
    assert playback.num_underruns == 2
    assert playback.longest_silence_s == pytest.approx(0.4)
    assert playback.num_samples == 710


def test_a_stream_that_fails_is_no_result() -> None:
    """Whoever waits for it gets the reason."""
    playback = Playback(1000)
    playback.on_end(ValueError("codec"))
    with pytest.raises(RuntimeError) as error:
        playback.wait()
    assert isinstance(error.value.__cause__, ValueError)


def test_tables_are_short() -> None:
    """Three digits are enough, a missing value is empty, words stand left and numbers right."""
    rows = [{"what": "a|b", "step_ms": 4.0151, "MB": 12345.6}, {"what": "c", "error": 0.00012}]
    report = {"is_rehearsal": False, "parts": [], "tables": {"t": {"title": "T", "rows": rows}}}
    assert markdown(report).endswith(
        "**T**\n\n"
        "| what | step ms | MB | error |\n"
        "| --- | --: | --: | --: |\n"
        "| a/b | 4.02 | 12,346 |  |\n"
        "| c |  |  | 1.2e-04 |\n"
    )


def test_the_rehearsal_has_the_real_ratios() -> None:
    """The codec's lag, in frames, is what the first audio waits for."""
    assert TINY.codec.codec.upsampling_ratios == REAL.codec.codec.upsampling_ratios
    assert TINY.codec.codec.num_codebooks == REAL.codec.codec.num_codebooks == 8
