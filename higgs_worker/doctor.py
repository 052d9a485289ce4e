"""What an operator wants to know before the first job: does everything that is needed work?

Each check finds something out by trying it and says it in a sentence; one that fails says what to
do. Nothing is changed but for tiny files that are removed again. Secrets are never shown.
"""

import asyncio
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from higgs_worker import weights
from higgs_worker.errors import WorkerError
from higgs_worker.fitness import check_gpu, check_volume
from higgs_worker.settings import Settings, nearest_name, variable_of

State = Literal["ok", "warning", "failed"]

WEIGHTS_BYTES = 13e9
"""Both repositories, with room to pull a file anew."""
GPU_BYTES = 16e9
"""The weights in bfloat16, the codec, and slots for a few sequences."""
PROBE_BYTES = 32 << 20
SLOW_VOLUME = 200e6
"""Bytes a second below which a cold start takes a minute."""
PACKAGES = (
    "torch",
    "runpod",
    "tokenizers",
    "safetensors",
    "av",
    "soxr",
    "huggingface_hub",
    "botocore",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    name: str
    state: State
    sentence: str


def examine(settings: Settings, source: weights.Source) -> Iterator[Finding]:
    """Make all checks, one after another.

    Args:
        settings: what the operator chose.
        source: where checkpoints may be had from.
    """
    yield _versions()
    yield from _settings(settings)
    missing: dict[str, str | None] = {}
    checks: dict[str, Callable[[], Finding]] = {
        "model": lambda: _checkpoint("model", settings, source, missing),
        "codec": lambda: _checkpoint("codec", settings, source, missing),
        "hub": lambda: _hub(settings, source, missing),
        "volume": lambda: _volume(settings, missing),
        "gpu": lambda: _gpu(settings),
        "s3": lambda: _s3(settings),
    }
    for name, check in checks.items():
        try:
            yield check()
        except WorkerError as error:
            yield Finding(name, "failed", error.message)


def _versions() -> Finding:
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            return Finding("versions", "failed", f"{name} is not installed; run bootstrap.sh")
    return Finding("versions", "ok", ", ".join(found))


def _settings(settings: Settings) -> Iterator[Finding]:
    changed = []
    for field in fields(settings):
        variable, value = variable_of(field), getattr(settings, field.name)
        if variable is not None and value != field.default:
            changed.append(f"{variable.name}={value if field.repr else '***'}")
    yield Finding("settings", "ok", ", ".join(changed) or "all as they come")
    for name in settings.unknown_names:
        near = nearest_name(name)
        hint = f"; did you mean {near}?" if near else ""
        yield Finding("settings", "warning", f"nothing reads {name}{hint}")


def _volume(settings: Settings, missing: dict[str, str | None]) -> Finding:
    volume = settings.volume
    check_volume(volume)
    free = shutil.disk_usage(volume).free
    speed = _write_speed(settings)
    sentence = f"{volume}: {free / 1e9:.0f} GB free, writes {speed / 1e6:.0f} MB/s"
    if missing and free < WEIGHTS_BYTES:
        needed = f"the weights need {WEIGHTS_BYTES / 1e9:.0f} GB"
        return Finding("volume", "failed", f"{sentence}; {needed}: enlarge it")
    if speed < SLOW_VOLUME:
        return Finding("volume", "warning", f"{sentence}; cold starts will be slow")
    return Finding("volume", "ok", sentence)


def _write_speed(settings: Settings) -> float:
    probe = settings.volume / "voices" / f".doctor-{os.getpid()}"
    data = os.urandom(1 << 20)
    started = time.perf_counter()
    try:
        with probe.open("wb") as file:
            for _ in range(PROBE_BYTES >> 20):
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return PROBE_BYTES / (time.perf_counter() - started)
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _gpu(settings: Settings) -> Finding:
    import torch

    if settings.device == "cpu" or (settings.device == "auto" and not torch.cuda.is_available()):
        state: State = "ok" if settings.device == "cpu" else "warning"
        note = "" if settings.device == "cpu" else "; the real model needs a GPU to be of use"
        return Finding("gpu", state, f"none is used, torch {torch.__version__}{note}")
    check_gpu(settings.device)
    name = "cuda" if settings.device == "auto" else settings.device
    properties = torch.cuda.get_device_properties(name)
    free, total = torch.cuda.mem_get_info(name)
    memory = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    sentence = f"{properties.name}, {memory}, CUDA {torch.version.cuda}"
    if settings.model != weights.DEMO and free < GPU_BYTES:
        return Finding(
            "gpu",
            "failed",
            f"{sentence}; the model needs {GPU_BYTES / 1e9:.0f} GB: take a larger one",
        )
    return Finding("gpu", "ok", sentence)


def _checkpoint(
    kind: str, settings: Settings, source: weights.Source, missing: dict[str, str | None]
) -> Finding:
    name: str = getattr(settings, kind)
    revision: str | None = getattr(settings, f"{kind}_revision")
    if weights.is_here(name, kind, source, revision=revision):
        return Finding(kind, "ok", f"{name} is here")
    missing[name] = revision
    if settings.hf_hub_offline:
        return Finding(kind, "failed", f"{name} is not here, and HF_HUB_OFFLINE forbids to pull it")
    return Finding(kind, "warning", f"{name} is not here yet; the first job pulls it, or `fetch`")


def _hub(settings: Settings, source: weights.Source, missing: dict[str, str | None]) -> Finding:
    if settings.hf_hub_offline or not missing:
        return Finding("hub", "ok", "not needed")
    from higgs_worker.hub import Hub
    from higgs_worker.patience import TryAgain

    async def ask() -> None:
        async with Hub(source.endpoint, source.token, source.limits) as hub:
            for name, revision in missing.items():
                await hub.listing(name, revision or "main")

    try:
        asyncio.run(ask())
    except TryAgain as error:
        sentence = f"{source.endpoint} gives no weights: {error}; check the network"
        return Finding("hub", "failed", sentence)
    return Finding("hub", "ok", f"{source.endpoint} gives {', '.join(missing)}")


def _s3(settings: Settings) -> Finding:
    if settings.s3 is None:
        return Finding("s3", "ok", "not set up; results are returned as base64, up to 10 or 20 MB")
    from higgs_worker.storage import Storage

    started = time.perf_counter()
    Storage(settings.s3).check()
    took_ms = 1000 * (time.perf_counter() - started)
    return Finding("s3", "ok", f"{settings.s3.bucket}: written and deleted in {took_ms:.0f} ms")
