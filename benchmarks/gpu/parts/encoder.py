"""The codec's encoder: what a new voice costs."""

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu.devices import MB, free_mb, seconds
from benchmarks.gpu.models import random_encoder
from benchmarks.gpu.scale import Scale
from higgs_worker.cuda import LOW, own_stream


def encoder(scale: Scale) -> Iterator[dict[str, Any]]:
    """A reference, PCM to codes; memory beside the weights, and all that is reserved"""
    device, sample_rate = scale.device, scale.codec.codec.sample_rate
    before = free_mb(device)
    encode = random_encoder(scale)
    weights_mb = before - free_mb(device)
    with own_stream(device, LOW), torch.inference_mode():
        for length_s in scale.reference_s:
            pcm = 0.1 * torch.randn(1, sample_rate * length_s, device=device)
            before = _allocated_mb(device)
            times = [1e3 * seconds(device, lambda pcm=pcm: encode(pcm)) for _ in range(2)]
            yield {
                "reference_s": length_s,
                "first_ms": times[0],
                "second_ms": times[1],
                "peak_MB": _peak_mb(device) - before,
                "reserved_MB": _reserved_mb(device),
                "weights_MB": weights_mb,
            }


def _allocated_mb(device: torch.device) -> float:
    if device.type != "cuda":
        return 0.0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device) / MB


def _peak_mb(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / MB if device.type == "cuda" else 0.0


def _reserved_mb(device: torch.device) -> float:
    return torch.cuda.memory_reserved(device) / MB if device.type == "cuda" else 0.0


MEASUREMENTS = (encoder,)
