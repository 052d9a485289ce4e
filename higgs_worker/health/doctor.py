"""What an operator wants to know before the first job: does everything that is needed work?

What a start checks (`checks.py`), and what only people want to know. Secrets are never shown.
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
from higgs_worker.settings import Settings, nearest_name
from higgs_worker.weights import locate as weights

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


def examine(settings: Settings, source: weights.CheckpointSource) -> Iterator[CheckResult]:
    """Make all checks, one after another.

    Args:
        settings: what the operator chose.
        source: where checkpoints may be had from.
    """
    yield _versions()
    yield from _settings(settings)
    looks: dict[str, Callable[[], CheckResult]] = {
        "model": lambda: checks.checkpoint("model", settings, source),
        "codec": lambda: checks.checkpoint("codec", settings, source),
        "hub": lambda: checks.hub(settings, source),
        "volume": lambda: _volume(settings, source),
        "gpu": lambda: checks.gpu(settings, source),
        "s3": lambda: checks.bucket(settings),
    }
    for name, look in looks.items():
        try:
            yield look()
        except WorkerError as error:
            yield CheckResult(name, "failed", error.message)


def _versions() -> CheckResult:
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            return CheckResult("versions", "failed", f"{name} is not installed; run bootstrap.sh")
    return CheckResult("versions", "ok", ", ".join(found))


def _settings(settings: Settings) -> Iterator[CheckResult]:
    given = [f"{name}={shown}" for name, shown in settings.given.items()]
    yield CheckResult("settings", "ok", ", ".join(given) or "all as they come")
    for name in settings.unknown_names:
        near = nearest_name(name)
        hint = f"; did you mean {near}?" if near else ""
        yield CheckResult("settings", "warning", f"nothing reads {name}{hint}")


def _volume(settings: Settings, source: weights.CheckpointSource) -> CheckResult:
    found = checks.volume(settings, source)
    speed = _write_speed(settings)
    sentence = f"{found.sentence}, writes {speed / 1e6:.0f} MB/s"
    if found.state == "ok" and speed < SLOW_VOLUME:
        return replace(found, state="warning", sentence=f"{sentence}; cold starts will be slow")
    return replace(found, sentence=sentence)


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
