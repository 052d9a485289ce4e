"""What an operator wants to know before the first job: does everything that a worker needs work?

Beside the checks of a start (`checks.py`), it shows versions, settings and the volume's speed. It
never shows secrets.
"""

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from higgs_worker.errors import WorkerError
from higgs_worker.health import checks
from higgs_worker.health.checks import CheckResult
from higgs_worker.settings import Settings
from higgs_worker.weights.source import CheckpointSource

PROBE_BYTES = 32 << 20
"""How much is written to measure the volume's speed."""
SLOW_BYTES_PER_S = 200e6
"""On a slower volume, a cold start takes a minute or more."""
PACKAGES = (
    "torch",
    "runpod",
    "tokenizers",
    "safetensors",
    "av",
    "soxr",
    "huggingface_hub",
    "boto3",
)


def examine(settings: Settings, source: CheckpointSource) -> Iterator[CheckResult]:
    """Yield the results of all checks, made one after another.

    Args:
        settings: what the operator chose.
        source: where checkpoints come from.
    """
    yield _versions()
    yield from _settings(settings)
    calls: dict[str, Callable[[], CheckResult]] = {
        "model": lambda: checks.checkpoint("model", settings, source),
        "codec": lambda: checks.checkpoint("codec", settings, source),
        "hub": lambda: checks.hub(settings, source),
        "volume": lambda: _volume(settings, source),
        "gpu": lambda: checks.gpu(settings, source),
        "s3": lambda: checks.bucket(settings),
    }
    for name, check in calls.items():
        try:
            yield check()
        except WorkerError as error:
            yield CheckResult(name, "failed", error.message)


def _versions() -> CheckResult:
    installed = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            return CheckResult("versions", "failed", f"{name} is not installed; run bootstrap.sh")
    return CheckResult("versions", "ok", ", ".join(installed))


def _settings(settings: Settings) -> Iterator[CheckResult]:
    given = [f"{name}={shown}" for name, shown in settings.given.items()]
    yield CheckResult("settings", "ok", ", ".join(given) or "all have their defaults")
    for sentence in settings.warnings:
        yield CheckResult("settings", "warning", sentence)


def _volume(settings: Settings, source: CheckpointSource) -> CheckResult:
    result = checks.volume(settings, source)
    speed = _write_speed(settings)
    sentence = f"{result.sentence}, writes {speed / 1e6:.0f} MB/s"
    if result.state == "ok" and speed < SLOW_BYTES_PER_S:
        return replace(result, state="warning", sentence=f"{sentence}; cold starts will be slow")
    return replace(result, sentence=sentence)


def _write_speed(settings: Settings) -> float:
    """Return how many bytes a second the volume writes, waiting until they are on the disk."""
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
