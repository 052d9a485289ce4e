"""Memory: what the plan leaves free, after everything that a worker allocates."""

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu.devices import MB, free_mb, synchronize
from benchmarks.gpu.models import (
    new_runner,
    plan,
    random_decoder,
    random_encoder,
    random_model,
    text_prompt,
)
from benchmarks.gpu.scale import Scale
from benchmarks.gpu.variants import chosen
from higgs_worker.codec.streaming import StreamingDecoder
from higgs_worker.cuda import LOW, cuda_capture, own_stream
from higgs_worker.engine.memory import MAX_AUTO_SLOTS
from higgs_worker.engine.sequence import PrefillChunk, Sampling, Submission


def memory(scale: Scale) -> Iterator[dict[str, Any]]:
    """Memory of the device as a worker fills it, MB"""
    device = scale.device
    before = free_mb(device)

    def row(after: str) -> dict[str, Any]:
        nonlocal before
        synchronize(device)
        free, last = free_mb(device), before
        before = free
        return {"after": after, "taken_MB": last - free, "free_MB": free}

    yield row("start")
    model = random_model(scale)
    decoder = random_decoder(scale)
    yield row("weights of model and codec")
    num_streams = 2 * (scale.max_slots or MAX_AUTO_SLOTS)
    streaming = StreamingDecoder(decoder, num_streams, capture=cuda_capture(device))
    with streaming.own_stream():
        streaming.prepare()
    yield row("codec")
    planned = plan(scale)
    runner = new_runner(scale, model, kernels="auto")
    reserved, prefixes = planned.reserved_bytes / MB, planned.prefix_cache_bytes / MB
    yield row(
        f"{planned.num_slots} slots of {planned.max_length}; left for the rest {reserved:,.0f}, "
        f"and for prefixes {prefixes:,.0f}"
    )
    with runner.own_stream():
        runner.prepare()
        yield row(f"graphs of a worker that is ready; {chosen(runner)}")
        while runner.capture_next():
            pass
        yield row("all graphs")
    with runner.own_stream():
        num_positions = min(scale.contexts[1], scale.max_length // 2)
        prompt = text_prompt(num_positions)
        left = runner.begin(0, Submission(prompt, Sampling(seed=0), 16))
        runner.prefill([PrefillChunk(0, left)])
        runner.step()
        yield row(f"a prompt of {num_positions} positions")
    encode = random_encoder(scale)
    length_s = scale.reference_s[-1]
    with own_stream(device, LOW), torch.inference_mode():
        pcm = 0.1 * torch.randn(1, scale.codec.codec.sample_rate * length_s, device=device)
        encode(pcm)
        yield row(f"encoder, a reference of {length_s} s")


MEASUREMENTS = (memory,)
