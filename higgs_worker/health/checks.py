"""What a worker needs: each check tries one thing and describes the outcome in a sentence.

A sentence about a failure says what to do and holds no secret. A check changes nothing, except for
small files that it removes again. It downloads nothing and reads no weights.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from higgs_worker.atomic_file import write_atomic
from higgs_worker.checkpoint.config_file import read_config
from higgs_worker.codec.config import CodecConfig
from higgs_worker.engine.config import ModelConfig
from higgs_worker.environment import variables_of
from higgs_worker.errors import EngineBroken, InvalidCheckpoint, StorageFailed, VolumeUnusable
from higgs_worker.settings import Settings
from higgs_worker.weights.checkpoint_files import all_files
from higgs_worker.weights.locate import (
    DEMO,
    find_without_verifying,
    is_cached,
)
from higgs_worker.weights.source import DIRECTORY, CheckpointSource
from higgs_worker.weights.volume import check_abilities

if TYPE_CHECKING:
    import torch

State = Literal["ok", "warning", "failed"]

PULLED_BYTES = 13e9
"""Size of both published repositories on disk, with room to pull one file again."""
PUBLISHED_BYTES = {"float32": 21.6e9, "bfloat16": 10.8e9, "int8": 5.9e9}
"""Size of the published model's weights in each format, without the text head."""
CODEC_BYTES = 0.6e9
"""Of the published codec's decoder: weights, state and captured calls."""
ENCODER_BYTES, REFERENCE_BYTES_PER_S = 1.25e9, 1.6e6
"""Of its encoder, once and for each second of the longest reference; see `encoder_memory.py`."""
CONTEXT_BYTES = 0.5e9
"""Device memory that a CUDA context takes."""

_PUBLISHED: str = variables_of(Settings)["model"].default
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_TEMPORARY = frozenset({408, 429})  # the two 4xx statuses that a later request may not get


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check."""

    name: str
    """What was checked: volume, model, gpu …"""
    state: State
    sentence: str
    """The outcome in words; for a failure, also what to do."""
    may_pass: bool = False
    """Whether a failure may end while the worker runs: that of a network, or of wrong weights."""


def volume(settings: Settings, source: CheckpointSource) -> CheckResult:
    """Write to the volume, and check that it can hold missing weights and has room for them.

    Raises:
        VolumeUnusable: it cannot be written, or its file system lacks something.
        WeightsNotFound: a checkpoint's name is neither a directory nor a repository.
    """
    check_volume(settings.volume)
    missing = missing_weights(settings, source)
    if missing:
        with _unwritable(settings.volume):
            check_abilities(settings.volume / DIRECTORY)
    free = shutil.disk_usage(settings.volume).free
    sentence = f"{settings.volume}: {free / 1e9:.0f} GB free"
    # Another worker may be pulling: the bytes it has written are not free, and not needed again.
    if _PUBLISHED in missing and free + _pulled_bytes(settings.volume) < PULLED_BYTES:
        needed = f"the weights need {PULLED_BYTES / 1e9:.0f} GB"
        return CheckResult("volume", "failed", f"{sentence}, and {needed}; enlarge it")
    return CheckResult("volume", "ok", sentence)


def check_volume(directory: Path) -> None:
    """Write a small file to a volume and remove it.

    Raises:
        VolumeUnusable: it cannot be written.
    """
    # Only root may be able to write the top of a mounted volume; the worker writes in its folders.
    probe = directory / "voices" / f".fitness-{os.getpid()}"
    with _unwritable(directory):
        probe.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(probe, b"fit", replace=True)
        probe.unlink(missing_ok=True)


@contextmanager
def _unwritable(directory: Path) -> Iterator[None]:
    """Turn the errors of a volume that cannot be written into `VolumeUnusable`."""
    try:
        yield
    except OSError as error:
        raise VolumeUnusable(
            f"{directory} cannot be written ({error.strerror}); mount a writable volume there, or "
            "set HIGGS_VOLUME to a writable directory"
        ) from error


def _pulled_bytes(directory: Path) -> int:
    blobs = (directory / DIRECTORY).glob("*/blobs/*")
    return sum(each.stat().st_blocks * 512 for each in blobs if each.is_file())


def checkpoint(kind: str, settings: Settings, source: CheckpointSource) -> CheckResult:
    """Check that a checkpoint is on this machine, complete and of the right kind.

    Args:
        kind: "model" or "codec".
        settings: what the operator chose.
        source: where checkpoints come from.

    Raises:
        WeightsNotFound: its name is neither a directory nor a repository.
        InvalidCheckpoint: it belongs to another model.
    """
    name: str = getattr(settings, kind)
    revision: str | None = getattr(settings, f"{kind}_revision")
    found = find_without_verifying(name, kind, source, revision=revision)
    if found is None and settings.hf_hub_offline:
        sentence = f"{name} is not here, and HF_HUB_OFFLINE forbids pulling it"
        return CheckResult(kind, "failed", sentence, may_pass=True)
    if found is None:
        return CheckResult(
            kind, "warning", f"{name} is not here yet; the first job or `fetch` pulls it"
        )
    names = all_files(kind, found.directory)
    absent = [each for each in names if not (found.directory / each).is_file()]
    if absent:
        sentence = f"{found.directory} has no {' and no '.join(absent)}"
        return CheckResult(kind, "failed", sentence, may_pass=True)
    try:
        _read_config(kind, found.directory)
    except InvalidCheckpoint as error:
        if found.revision is not None and _is_damaged(found.directory):
            return CheckResult(kind, "warning", f"{error.message}; the first job does that")
        is_recorded = found.revision is not None and found.revision != revision
        if is_recorded and not settings.hf_hub_offline:
            sentence = f"{error.message}; the first job asks the hub for a newer commit"
            return CheckResult(kind, "warning", sentence)
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


def hub(settings: Settings, source: CheckpointSource) -> CheckResult:
    """Ask the hub for the files of every missing checkpoint, as the pull will.

    Raises:
        WeightsNotFound: the hub has no such repository.
        WeightsRefused: the hub does not give it to this token.
    """
    missing = missing_weights(settings, source)
    if settings.hf_hub_offline or not missing:
        return CheckResult("hub", "ok", "not needed")
    from higgs_worker.weights.hub import Hub
    from higgs_worker.weights.retry import Retryable

    try:
        with Hub(source.endpoint, source.token, source.limits) as hub:
            for name, revision in missing.items():
                hub.listing(name, revision or "main")
    except Retryable as error:
        sentence = f"{source.endpoint} gives no weights: {error}; check the network"
        return CheckResult("hub", "failed", sentence, may_pass=True)
    return CheckResult("hub", "ok", f"{source.endpoint} gives {', '.join(missing)}")


def missing_weights(settings: Settings, source: CheckpointSource) -> dict[str, str | None]:
    """Return the repositories that the first job would pull, each with its revision.

    Quick: no weights are read.

    Raises:
        WeightsNotFound: a checkpoint's name is neither a directory here nor a repository's.
    """
    wanted = {
        "model": (settings.model, settings.model_revision),
        "codec": (settings.codec, settings.codec_revision),
    }
    return {
        name: revision
        for kind, (name, revision) in wanted.items()
        if not is_cached(name, kind, source, revision=revision)
    }


def gpu(settings: Settings, source: CheckpointSource) -> CheckResult:
    """Compute on the GPU, and check that the model fits into its memory.

    Raises:
        InvalidSettings: there is no such GPU.
        EngineBroken: the GPU that is asked for does not work.
    """
    # With `auto`, a GPU that torch cannot use must fail: on its CPU a worker is 50 times slower.
    is_optional = settings.device == "cpu" or (
        settings.device == "auto" and not _NVIDIA_DRIVER.exists()
    )
    if is_optional and settings.model == DEMO:
        return CheckResult("gpu", "ok", "the demo model needs none")
    import torch

    if is_optional and (settings.device == "cpu" or not torch.cuda.is_available()):
        return _cpu(settings, source)
    check_gpu(settings.device)
    name = "cuda" if settings.device == "auto" else settings.device
    properties = torch.cuda.get_device_properties(name)
    # Free memory decides nothing: the model may already be loading into it.
    free, total = torch.cuda.mem_get_info(name)
    memory = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    sentence = f"{properties.name}, {memory}, CUDA {torch.version.cuda}"
    needed = needed_bytes(settings, source, torch.device("cuda")) + CONTEXT_BYTES
    if needed > total:
        smaller = "" if settings.dtype == "int8" else "set HIGGS_DTYPE to int8, "
        return CheckResult(
            "gpu",
            "failed",
            f"{sentence}: the model needs {needed / 1e9:.1f} GB; take a GPU with more memory, "
            f"{smaller}or lower HIGGS_MAX_SLOTS, HIGGS_MAX_LENGTH or HIGGS_MAX_REFERENCE_S",
        )
    return CheckResult("gpu", "ok", f"{sentence}; the model needs {needed / 1e9:.1f} GB")


def check_gpu(device: str) -> None:
    """Compute one sum on a GPU.

    Raises:
        InvalidSettings: there is none of that number.
        EngineBroken: it does not work.
    """
    import torch

    from higgs_worker.cuda import device_named

    named = torch.device("cuda") if device == "auto" else device_named(device)
    try:
        torch.ones(1, device=named).sum().item()
    # torch built without CUDA raises an AssertionError.
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0].strip().rstrip(".")
        raise EngineBroken(
            f"HIGGS_DEVICE is {device} and the GPU does not work ({reason}); use another GPU or "
            "driver, or set HIGGS_DEVICE=cpu"
        ) from error


def _cpu(settings: Settings, source: CheckpointSource) -> CheckResult:
    """Check that the model fits into the memory of a machine that computes on its CPU."""
    import torch

    needed = needed_bytes(settings, source, torch.device("cpu"))
    memory = _memory_bytes()
    sentence = f"no GPU is used, torch {torch.__version__}"
    if needed > memory:
        return CheckResult(
            "gpu",
            "failed",
            f"{sentence}: the model needs {needed / 1e9:.1f} GB of memory, and this machine has "
            f"{memory / 1e9:.1f} GB; give the worker more memory, or take a machine with a GPU",
        )
    if settings.device == "cpu":
        return CheckResult("gpu", "ok", sentence)
    return CheckResult("gpu", "warning", f"{sentence}; the real model is too slow without one")


def needed_bytes(settings: Settings, source: CheckpointSource, device: "torch.device") -> float:
    """Return the least memory, in bytes, that the model and its slots take on a device.

    Before a checkpoint of use is there, its size is unknown, and counts as 0 unless it is the
    published one.

    Args:
        settings: what the operator chose.
        source: where checkpoints come from.
        device: where the model computes.
    """
    from higgs_worker.engine.memory import library_bytes, slot_bytes, weight_bytes, working_bytes
    from higgs_worker.engine.number_format import NumberFormat

    number_format = NumberFormat.named(settings.dtype, device)
    encoder = ENCODER_BYTES + REFERENCE_BYTES_PER_S * settings.max_reference_s
    codec = 0 if settings.codec == DEMO else CODEC_BYTES + encoder
    found = find_without_verifying(
        settings.model, "model", source, revision=settings.model_revision
    )
    config = None if found is None else _usable_config(found.directory)
    if config is None:
        model = PUBLISHED_BYTES[str(number_format)] if settings.model == _PUBLISHED else 0
        return model + codec + library_bytes(device)
    slots = (settings.max_slots or 1) * slot_bytes(config, number_format.dtype, settings.max_length)
    working = working_bytes(config, number_format, device, settings.max_length)
    reserved = library_bytes(device) + working
    return weight_bytes(config, number_format, device) + codec + slots + reserved


def _usable_config(directory: Path) -> ModelConfig | None:
    try:
        return ModelConfig.from_directory(directory)
    except InvalidCheckpoint:  # which the check of the checkpoint tells
        return None


def _memory_bytes() -> int:
    """Return the memory that this process may use, in bytes: the machine's or the container's."""
    from higgs_worker.engine.memory import container_free_memory

    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = container_free_memory()
    if free is None:
        return machine
    status = Path("/proc/self/status").read_text()
    own = re.search(r"VmRSS:\s+(\d+) kB", status)
    return min(machine, free + (int(own[1]) * 1024 if own else 0))


def bucket(settings: Settings) -> CheckResult:
    """Write a small object to the bucket and remove it."""
    if settings.s3 is None:
        return CheckResult(
            "s3", "ok", "not configured; results are returned as base64, up to 10 or 20 MB"
        )
    from higgs_worker.storage.storage import Storage

    started = time.perf_counter()
    try:
        Storage(settings.s3).check()
    except StorageFailed as error:
        status = error.details.get("status")
        is_permanent = status is not None and status < 500 and status not in _TEMPORARY
        return CheckResult("s3", "failed", error.message, may_pass=not is_permanent)
    elapsed_ms = 1000 * (time.perf_counter() - started)
    sentence = f"{settings.s3.bucket}: wrote and deleted an object in {elapsed_ms:.0f} ms"
    return CheckResult("s3", "ok", sentence)
