"""The machine: its card, its versions, and what it can move at best."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.devices import (
    GB,
    data_sheet_bandwidth,
    device_name,
    free_mb,
    median_seconds,
    read_bandwidths,
    seconds,
)
from benchmarks.gpu.scale import Scale

NUM_OPERATORS = 2000


def machine(scale: Scale) -> Iterator[dict[str, Any]]:
    """The machine; microseconds of its host to launch an operator"""
    row: dict[str, Any] = {"card": device_name(scale.device)}
    row |= {package: _version(package) for package in ("torch", "triton", "transformers")}
    if scale.device.type == "cuda":
        properties = torch.cuda.get_device_properties(scale.device)
        row["CUDA"], row["cuDNN"] = torch.version.cuda, str(torch.backends.cudnn.version())
        row["driver"] = _driver()
        row["SMs"] = properties.multi_processor_count
        row["GB"], row["free_GB"] = properties.total_memory / GB, free_mb(scale.device) / 1e3
    row |= {"python": platform.python_version(), "host": f"{os.cpu_count()} x {_processor()}"}
    yield row | {"us_per_operator": _microseconds_per_operator(scale.device)}


def bandwidth(scale: Scale) -> Iterator[dict[str, Any]]:
    """Bandwidths in GB per second: the data sheet's, read by kind of reduction, copied, host"""
    device = scale.device
    sheet = data_sheet_bandwidth(device_name(device))
    row: dict[str, Any] = {"data_sheet": sheet and sheet / GB}
    row |= {way: speed / GB for way, speed in read_bandwidths(device).items()}
    num_bytes = 1 << (29 if device.type == "cuda" else 20)
    source = torch.ones(num_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    pinned = torch.ones(num_bytes, dtype=torch.uint8, pin_memory=device.type == "cuda")

    def speed(to: torch.Tensor, come_from: torch.Tensor) -> float:
        def copy() -> None:
            to.copy_(come_from, non_blocking=True)

        return num_bytes / median_seconds(device, copy, scale.repeats) / GB

    row["copied,_read_and_written"] = 2 * speed(target, source)
    row |= {"host_to_device": speed(target, pinned), "device_to_host": speed(pinned, target)}
    yield row


def _microseconds_per_operator(device: torch.device) -> float:
    small = torch.zeros(8, device=device)

    def launch() -> None:
        for _ in range(NUM_OPERATORS):
            small.add_(1)

    launch()
    return 1e6 * seconds(device, launch) / NUM_OPERATORS


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _driver() -> str:
    try:
        return subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown ({error})"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


MEASUREMENTS = (machine, bandwidth)
