"""Measure the engine on a GPU, at the real dimensions, with random weights.

    python -m benchmarks.gpu [--device cuda] [--size real] [--slots 1,8,32,64] [--steps 40]

Per batch size: milliseconds per step by graph replay and eagerly, the share of the card's measured
copy bandwidth that reading the step's bytes would take, audio seconds per second, and how often the
device allocated memory while steps ran. Then prefill times. The last line is one JSON document.

It needs torch, numpy and this repository, nothing else. `--device cpu --size tiny` runs the same
code on any machine.
"""

import argparse
import json
import time
from collections.abc import Callable

import torch

from higgs_worker.engine.config import ModelConfig, Rope
from higgs_worker.engine.graphs import StepGraphs
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import PrefillChunk, Prompt, Sampling, Submission, TextSegment

FRAME_RATE = 25
ROPE = Rope(500000.0, 32.0, 0.125, 0.5, 1024)
SIZES = {
    # Source: config.json of bosonai/higgs-audio-v2-generation-3B-base.
    "real": ModelConfig(128256, 3072, 8192, 28, 24, 8, 128, 1e-5, ROPE, 8, 1026, 1024, 1025),
    "tiny": ModelConfig(512, 64, 128, 2, 4, 2, 16, 1e-5, ROPE, 8, 1026, 1024, 1025),
}


def random_model(
    config: ModelConfig, device: torch.device, dtype: torch.dtype, max_length: int
) -> LanguageModel:
    """Return a model whose logits spread and whose sequences never end by themselves."""
    torch.manual_seed(0)
    weights = Weights.empty(config, device=device, dtype=dtype)
    for name, tensor in weights.by_name(config).items():
        if "norm" in name:
            tensor.fill_(1.0)
        else:
            tensor.normal_(std=1.0 if "embed" in name else tensor.shape[-1] ** -0.5)
    head = weights.head.view(config.num_codebooks, config.codebook_size, -1)
    head.mul_(3)
    head[:, config.stream_bos_id] = 0
    head[:, config.stream_eos_id] = 0
    return LanguageModel(config, weights, max_length)


def timed(device: torch.device, work: Callable[[], None], repeats: int) -> float:
    """Return the median seconds of some runs, each of which waits for the device."""
    times = []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def copy_bandwidth(device: torch.device) -> float:
    """Measure bytes read and written per second by a large copy."""
    source = torch.empty(1 << (30 if device.type == "cuda" else 27), dtype=torch.uint8)
    source = source.to(device)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * source.numel() / timed(device, lambda: target.copy_(source), 9)


def step_bytes(model: LanguageModel, num_slots: int, context: int) -> int:
    """Return the bytes that a step must read: the audio path's weights, keys and values in use."""
    read = [model.weights.norm, model.weights.head]
    for layer in model.weights.layers:
        audio = layer.audio
        read += [layer.qkv, layer.out, audio.input_norm, audio.post_norm, audio.gate_up, audio.down]
    config = model.config
    kv = 2 * config.num_layers * config.num_kv_heads * config.head_dim * model.dtype.itemsize
    return sum(tensor.nbytes for tensor in read) + num_slots * context * kv


def start(runner: Runner, num_slots: int, prompt_length: int, max_frames: int) -> None:
    """Fill slots with sampled sequences, prompts prefilled."""
    prompt = Prompt((TextSegment(tuple(range(2, 1 + prompt_length))),))
    for slot in range(num_slots):
        runner.begin(slot, Submission(prompt, Sampling(seed=slot, temperature=1.0), max_frames))
    runner.prefill([PrefillChunk(slot, prompt_length) for slot in range(num_slots)])


def measure_steps(
    model: LanguageModel, num_slots: int, bandwidth: float, num_steps: int
) -> dict[str, float]:
    """Time steps of a full batch around a context of some 400 positions."""
    device = model.device
    runner = Runner(model, num_slots=num_slots, max_length=1024)
    start(runner, num_slots, prompt_length=300, max_frames=600)

    def steps() -> None:
        for _ in range(num_steps):
            runner.step()

    steps()
    allocated = torch.cuda.memory_stats(device) if device.type == "cuda" else {}
    replayed = timed(device, steps, 3) / num_steps
    after = torch.cuda.memory_stats(device) if device.type == "cuda" else {}
    launched = time.perf_counter()
    steps()
    host = (time.perf_counter() - launched) / num_steps
    synchronize(device)
    graphs, runner._graphs = runner._graphs, StepGraphs(None)
    eager = timed(device, steps, 1) / num_steps
    runner._graphs = graphs
    floor = step_bytes(model, num_slots, context=400) / bandwidth
    key = "allocation.all.allocated"
    return {
        "num_slots": num_slots,
        "step_ms": 1e3 * replayed,
        "eager_ms": 1e3 * eager,
        "host_ms": 1e3 * host,
        "percent_of_bandwidth": 100 * floor / replayed,
        "audio_s_per_s": num_slots / FRAME_RATE / replayed,
        "num_allocations": after.get(key, 0) - allocated.get(key, 0),
    }


def measure_prefill(model: LanguageModel, prompt_length: int) -> dict[str, float]:
    """Time the prefill of one prompt, the first column's logits included."""
    runner = Runner(model, num_slots=1, max_length=1024)

    def prefill() -> None:
        start(runner, 1, prompt_length, max_frames=100)
        runner.release(0)

    prefill()
    return {
        "num_positions": prompt_length,
        "prefill_ms": 1e3 * timed(model.device, prefill, 5),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", choices=SIZES, default="real")
    parser.add_argument("--slots", default="1,8,32,64")
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    device = torch.device(options.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    bandwidth = copy_bandwidth(device)
    model = random_model(SIZES[options.size], device, dtype, max_length=1024)
    report: dict[str, object] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "size": options.size,
        "copy_gb_per_s": bandwidth / 1e9,
        "weights_gb": sum(each.nbytes for each in model.weights.by_name(model.config).values())
        / 1e9,
    }
    print(json.dumps(report), flush=True)
    report["steps"] = rows = []
    for num_slots in map(int, options.slots.split(",")):
        rows.append(measure_steps(model, num_slots, bandwidth, options.steps))
        print({name: round(value, 3) for name, value in rows[-1].items()}, flush=True)
    report["prefill"] = [measure_prefill(model, length) for length in (100, 500)]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
