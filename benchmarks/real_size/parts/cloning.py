"""A new voice in a worker that has its model: what the encoder takes."""

import base64
import io
import time
import wave
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.real_size.setup import Setup
from benchmarks.real_size.worker import INPUT, working

RATE = 24_000
TEXT = "What is said in it. "
CHARACTERS_PER_S = 14
"""Of speech: a transcript of another length would be doubted."""


def cloning(setup: Setup) -> Iterator[dict[str, Any]]:
    """A new voice, on the CPU"""
    with working(setup) as worker:
        worker.run(INPUT)
        for what, seconds, job in (
            ("saved in the library", setup.recording_s, _saving(setup.recording_s)),
            ("spoken at once", 1.5, INPUT | {"voice": _voice(1.5)}),
        ):
            worker.forget_peak()
            before_gb, cpu_s = worker.resident_gb(), worker.cpu_s()
            started = time.perf_counter()
            worker.run(job)
            took = time.perf_counter() - started
            yield {
                "voice": what,
                "recording s": seconds,
                "took s": took,
                "cpu s": worker.cpu_s() - cpu_s,
                "resident GB before": before_gb,
                "peak GB": worker.peak_gb(),
                "encoders loaded": len(worker.lines("encoder loaded")),
            }


def _saving(seconds: float) -> dict[str, Any]:
    return {"action": "save_voice", "name": "Long", **_voice(seconds)}


def _voice(seconds: float) -> dict[str, str]:
    """Return a recording of noise that swells several times a second, and words for it."""
    num_samples = int(seconds * RATE)
    noise = np.random.default_rng(0).normal(size=num_samples)
    swell = 1 + np.sin(np.arange(num_samples) * (2 * np.pi * 4 / RATE))
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, RATE, 0, "NONE", ""))
        writer.writeframes((1500 * swell * noise).clip(-32768, 32767).astype("<i2").tobytes())
    text = TEXT * max(1, round(seconds * CHARACTERS_PER_S / len(TEXT)))
    return {"audio": base64.b64encode(file.getvalue()).decode(), "text": text.strip()}


MEASUREMENTS = (cloning,)
