"""Memory: what the plan leaves free, after everything that a worker allocates."""

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu.devices import MB, free_mb, synchronize
from benchmarks.gpu.models import random_decoder, random_encoder, random_weights, text_prompt
from benchmarks.gpu.scale import Scale
from higgs_worker.codec.encoder_memory import HELD_PER_BYTE, encoder_bytes
from higgs_worker.codec.streaming import StreamingDecoder
from higgs_worker.cuda import LOW, cuda_capture, own_stream
from higgs_worker.engine.memory import MAX_AUTO_SLOTS, free_memory, plan_memory
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.runner import Runner
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
    weights = random_weights(scale.model, device, scale.dtype)
    decoder = random_decoder(scale)
    yield row("weights of model and codec")
    num_streams = 2 * (scale.max_slots if scale.is_rehearsal else MAX_AUTO_SLOTS)
    streaming = StreamingDecoder(decoder, num_streams, capture=cuda_capture(device))
    with streaming.own_stream():
        streaming.prepare()
    yield row("codec")
    plan = plan_memory(
        scale.model,
        scale.dtype,
        free_bytes=free_memory(device),
        max_slots=scale.max_slots if scale.is_rehearsal else None,
        max_length=scale.max_length,
        encoder_bytes=round(HELD_PER_BYTE * encoder_bytes(scale.codec, scale.reference_s[-1])),
    )
    runner = Runner(
        LanguageModel(scale.model, weights, plan.max_length),
        num_slots=plan.num_slots,
        max_length=plan.max_length,
        prefix_cache_bytes=plan.prefix_cache_bytes,
    )
    reserved, prefixes = plan.reserved_bytes / MB, plan.prefix_cache_bytes / MB
    yield row(
        f"{plan.num_slots} slots of {plan.max_length}; left for the rest {reserved:,.0f}, and for "
        f"prefixes {prefixes:,.0f}"
    )
    with runner.own_stream():
        runner.prepare()
        yield row("graphs of a worker that is ready")
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
