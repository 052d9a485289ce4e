"""What a worker needs, each found out by trying it and told in one sentence.

A sentence about a failure says what to do and holds no secret. Nothing is changed but for tiny
files that are removed again. Nothing is downloaded, and no weights are read.
"""

import asyncio
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from higgs_worker.atomic_file import write_atomic
from higgs_worker.checkpoint import read_config
from higgs_worker.codec.config import CodecConfig
from higgs_worker.engine.config import ModelConfig
from higgs_worker.environment import variables_of
from higgs_worker.errors import EngineBroken, InvalidCheckpoint, StorageFailed, VolumeUnusable
from higgs_worker.settings import Settings
from higgs_worker.weights import locate as weights

if TYPE_CHECKING:
    import torch

State = Literal["ok", "warning", "failed"]

PULLED_BYTES = 13e9
"""Both published repositories, with room to pull a file anew."""
PUBLISHED_BYTES = 10.8e9
"""The published model's weights in bfloat16, without the text head."""
CODEC_BYTES = 0.5e9
CONTEXT_BYTES = 0.5e9
"""What CUDA takes for itself."""

_PUBLISHED: str = variables_of(Settings)["model"].default
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_TEMPORARY = frozenset({408, 429})  # of 4xx, which otherwise last


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found."""

    name: str
    state: State
    sentence: str
    may_pass: bool = False
    """Whether a failure may be over in a minute, without anybody doing anything."""


def volume(settings: Settings, source: weights.CheckpointSource) -> CheckResult:
    """Write to the volume, and see that what is to be pulled has room.

    Raises:
        VolumeUnusable: it takes nothing.
        WeightsNotFound: a name can be neither a directory nor a repository.
    """
    check_volume(settings.volume)
    free = shutil.disk_usage(settings.volume).free
    sentence = f"{settings.volume}: {free / 1e9:.0f} GB free"
    # Another worker may be pulling: what it has got so far is no longer free, nor needed.
    if (
        _PUBLISHED in _missing(settings, source)
        and free + _pulled_bytes(settings.volume) < PULLED_BYTES
    ):
        needed = f"the weights need {PULLED_BYTES / 1e9:.0f} GB"
        return CheckResult("volume", "failed", f"{sentence}, and {needed}; enlarge it")
    return CheckResult("volume", "ok", sentence)


def check_volume(directory: Path) -> None:
    """Write to a volume.

    Raises:
        VolumeUnusable: it takes nothing.
    """
    # A mounted volume's top may be root's alone; what the worker writes is in folders of its own.
    probe = directory / "voices" / f".fitness-{os.getpid()}"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(probe, b"fit", replace=True)
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise VolumeUnusable(
            f"{directory} cannot be written ({error.strerror}); mount a writable volume there, or "
            "set HIGGS_VOLUME to a directory that is"
        ) from error


def _pulled_bytes(directory: Path) -> int:
    blobs = (directory / weights.DIRECTORY).glob("*/blobs/*")
    return sum(each.stat().st_blocks * 512 for each in blobs if each.is_file())


def checkpoint(kind: str, settings: Settings, source: weights.CheckpointSource) -> CheckResult:
    """See whether a checkpoint is here, complete and of the right kind.

    Raises:
        WeightsNotFound: there can be no such thing.
        InvalidCheckpoint: it is another model's.
    """
    name: str = getattr(settings, kind)
    found = weights.find_without_verifying(
        name, kind, source, revision=getattr(settings, f"{kind}_revision")
    )
    if found is None and settings.hf_hub_offline:
        return CheckResult(
            kind, "failed", f"{name} is not here, and HF_HUB_OFFLINE forbids to pull it"
        )
    if found is None:
        return CheckResult(
            kind, "warning", f"{name} is not here yet; the first job pulls it, or `fetch`"
        )
    absent = [each for each in weights.FILES[kind] if not (found.directory / each).is_file()]
    if absent:
        return CheckResult(kind, "failed", f"{found.directory} has no {' and no '.join(absent)}")
    try:
        _read_config(kind, found.directory)
    except InvalidCheckpoint as error:
        if found.revision is not None and _is_damaged(found.directory):
            return CheckResult(kind, "warning", f"{error.message}; that is what the first job does")
        raise
    return CheckResult(kind, "ok", f"{name} is here")


def _read_config(kind: str, directory: Path) -> None:
    if kind == "model":
        ModelConfig.from_directory(directory)
    else:
        CodecConfig.from_directory(directory)


def _is_damaged(directory: Path) -> bool:
    try:
        read_config(directory, "a checkpoint")
    except InvalidCheckpoint:
        return True
    return False


def hub(settings: Settings, source: weights.CheckpointSource) -> CheckResult:
    """Ask the hub for what is missing, as the pull will.

    Raises:
        WeightsNotFound, WeightsRefused: it gives it to nobody, or not to this token.
    """
    missing = _missing(settings, source)
    if settings.hf_hub_offline or not missing:
        return CheckResult("hub", "ok", "not needed")
    from higgs_worker.weights.hub import Hub
    from higgs_worker.weights.retry import Retryable

    async def ask() -> None:
        async with Hub(source.endpoint, source.token, source.limits) as hub:
            for name, revision in missing.items():
                await hub.listing(name, revision or "main")

    try:
        asyncio.run(ask())
    except Retryable as error:
        sentence = f"{source.endpoint} gives no weights: {error}; check the network"
        return CheckResult("hub", "failed", sentence, may_pass=True)
    return CheckResult("hub", "ok", f"{source.endpoint} gives {', '.join(missing)}")


def _missing(settings: Settings, source: weights.CheckpointSource) -> dict[str, str | None]:
    """Return the repositories that are to be pulled, and of which revision."""
    wanted = {
        "model": (settings.model, settings.model_revision),
        "codec": (settings.codec, settings.codec_revision),
    }
    return {
        name: revision
        for kind, (name, revision) in wanted.items()
        if weights.find_without_verifying(name, kind, source, revision=revision) is None
    }


def gpu(settings: Settings, source: weights.CheckpointSource) -> CheckResult:
    """Compute on the GPU, and see that the model fits into its memory.

    Raises:
        EngineBroken: there is none that works.
    """
    # On `auto`, a GPU that torch cannot use must not turn into a worker that is 50 times slower.
    is_optional = settings.device == "cpu" or (
        settings.device == "auto" and not _NVIDIA_DRIVER.exists()
    )
    if is_optional and settings.model == weights.DEMO:
        return CheckResult("gpu", "ok", "the demo model needs none")
    import torch

    if is_optional and (settings.device == "cpu" or not torch.cuda.is_available()):
        return _processor(settings, source)
    check_gpu(settings.device)
    name = "cuda" if settings.device == "auto" else settings.device
    properties = torch.cuda.get_device_properties(name)
    # What is free decides nothing: the model may be on its way into it.
    free, total = torch.cuda.mem_get_info(name)
    memory = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    sentence = f"{properties.name}, {memory}, CUDA {torch.version.cuda}"
    needed = needed_bytes(settings, source, torch.bfloat16) + CONTEXT_BYTES
    if needed > total:
        return CheckResult(
            "gpu",
            "failed",
            f"{sentence}: the model needs {needed / 1e9:.1f} GB; take a GPU with more memory, or "
            "lower HIGGS_MAX_SLOTS or HIGGS_MAX_LENGTH where they are set",
        )
    return CheckResult("gpu", "ok", f"{sentence}; the model needs {needed / 1e9:.1f} GB")


def check_gpu(device: str) -> None:
    """Use a GPU.

    Raises:
        EngineBroken: there is none that works.
    """
    import torch

    try:
        torch.ones(1, device="cuda" if device == "auto" else device).sum().item()
    # An assertion fails where torch was built without CUDA.
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0].strip().rstrip(".")
        raise EngineBroken(
            f"HIGGS_DEVICE is {device} and the GPU does not work ({reason}); take another GPU or "
            "driver, or set HIGGS_DEVICE=cpu"
        ) from error


def _processor(settings: Settings, source: weights.CheckpointSource) -> CheckResult:
    import torch

    needed = needed_bytes(settings, source, torch.float32)
    memory = _memory_bytes()
    sentence = f"none is used, torch {torch.__version__}"
    if needed > memory:
        return CheckResult(
            "gpu",
            "failed",
            f"{sentence}: the model needs {needed / 1e9:.1f} GB of memory and "
            f"{memory / 1e9:.1f} GB are there; take a machine with a GPU",
        )
    if settings.device == "cpu":
        return CheckResult("gpu", "ok", sentence)
    return CheckResult("gpu", "warning", f"{sentence}; the real model needs a GPU to be of use")


def needed_bytes(
    settings: Settings, source: weights.CheckpointSource, dtype: "torch.dtype"
) -> float:
    """Return what the model and its slots take of a device's memory, at least.

    Of a checkpoint that is not here yet, only the published one's size is known.
    """
    import torch

    from higgs_worker.engine.memory import RESERVE_BYTES, slot_bytes
    from higgs_worker.engine.parameters import Weights

    if settings.dtype != "auto":
        dtype = getattr(torch, settings.dtype)
    codec = 0 if settings.codec == weights.DEMO else CODEC_BYTES
    found = weights.find_without_verifying(
        settings.model, "model", source, revision=settings.model_revision
    )
    if found is None:
        model = PUBLISHED_BYTES * dtype.itemsize / 2 if settings.model == _PUBLISHED else 0
        return model + codec + RESERVE_BYTES
    config = ModelConfig.from_directory(found.directory)
    tensors = Weights.empty(config, device=torch.device("meta"), dtype=dtype).by_name(config)
    slots = (settings.max_slots or 1) * slot_bytes(config, dtype, settings.max_length)
    return sum(each.nbytes for each in tensors.values()) + slots + codec + RESERVE_BYTES


def _memory_bytes() -> int:
    """Return the memory of the machine or of this container, this process's share included."""
    from higgs_worker.engine.memory import container_free_memory

    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = container_free_memory()
    if free is None:
        return machine
    status = Path("/proc/self/status").read_text()
    own = re.search(r"VmRSS:\s+(\d+) kB", status)
    return min(machine, free + (int(own[1]) * 1024 if own else 0))


def bucket(settings: Settings) -> CheckResult:
    """Write a tiny object and remove it."""
    if settings.s3 is None:
        return CheckResult(
            "s3", "ok", "not set up; results are returned as base64, up to 10 or 20 MB"
        )
    from higgs_worker.storage.storage import Storage

    started = time.perf_counter()
    try:
        Storage(settings.s3).check()
    except StorageFailed as error:
        status = error.details.get("status")
        lasts = status is not None and status < 500 and status not in _TEMPORARY
        return CheckResult("s3", "failed", error.message, may_pass=not lasts)
    took_ms = 1000 * (time.perf_counter() - started)
    return CheckResult("s3", "ok", f"{settings.s3.bucket}: written and deleted in {took_ms:.0f} ms")
